package http

import "testing"

func TestPlainIntegers(t *testing.T) {
	for text, want := range map[string]string{
		`90.0`: `90`, `9e1`: `90`, `9E+1`: `90`, `0.0`: `0`, `-0.0`: `0`, `900e-1`: `90`, `9.00e1`: `90`, `0.9e2`: `90`, `1.5e1`: `15`, `-1e0`: `-1`,
		`1e17`: `100000000000000000`, `0e999999`: `0`, `100e-2`: `1`, `90`: `90`, `-7`: `-7`, `0.00e-5`: `0`,
		// no integers, or none that surely fit
		`90.5`: `90.5`, `9e-1`: `9e-1`, `90.0000000000000000001`: `90.0000000000000000001`, `1e18`: `1e18`, `1e999999999`: `1e999999999`,
		`1e99999999999999999999`: `1e99999999999999999999`, `12e-1`: `12e-1`, `1e-999999999`: `1e-999999999`,
		// only numbers change
		`{"9e1":"9e1 \" 1.0","b":[true,false,null,1.0,{"e":2.0}]}`: `{"9e1":"9e1 \" 1.0","b":[true,false,null,1,{"e":2}]}`,
		`"\\"`: `"\\"`,
	} {
		if err := checkJSON([]byte(text)); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if got := string(plainIntegers([]byte(text))); got != want {
			t.Errorf("%s became %s, want %s", text, got, want)
		}
	}
}
