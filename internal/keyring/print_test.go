package keyring

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// However a keyring or a data key is printed, alone or inside something, none of its bytes come out.
func TestPrintHidesKeys(t *testing.T) {
	k, _ := ring(t, 2)
	d := NewDataKey()
	type holder struct {
		Ring *Keyring
		Data DataKey
		ring *Keyring // fmt calls no methods on unexported fields
		data DataKey
		many []DataKey
	}
	h := holder{k, d, k, d, []DataKey{d}}

	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		for _, value := range []any{k, d, &d, h, &h, []any{k, d}, map[string]any{"k": k, "d": d}, fmt.Errorf("%v %w", d, errNoDataKey)} {
			fmt.Fprintf(&out, verb+"\n", value)
		}
	}
	for _, handler := range []slog.Handler{slog.NewJSONHandler(&out, nil), slog.NewTextHandler(&out, nil)} {
		slog.New(handler).Info("m", "k", k, "d", d, "pd", &d, "h", h, "ph", &h, "group", slog.GroupValue(slog.Any("d", d)))
	}
	for _, value := range []any{k, d, h, map[string]any{"d": d}} {
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(text)
	}

	printed := out.String()
	if !strings.Contains(printed, k.IDs()[0]) || !strings.Contains(printed, "datakey[hidden]") {
		t.Errorf("names are missing: %s", printed)
	}
	for _, hidden := range append(k.keys(), d.key) {
		key := hidden()
		decimals := strings.Trim(fmt.Sprint(key[:4]), "[]")
		for name, text := range map[string]string{
			"raw":      string(key[:4]),
			"base64":   base64.StdEncoding.EncodeToString(key[:])[:8],
			"url":      base64.URLEncoding.EncodeToString(key[:])[:8],
			"hex":      hex.EncodeToString(key[:4]),
			"decimals": decimals,
			"commas":   strings.ReplaceAll(decimals, " ", ","),
			"go":       strings.Trim(fmt.Sprintf("%#v", key[:4]), "[]byte{}"),
		} {
			if strings.Contains(strings.ToLower(printed), strings.ToLower(text)) {
				t.Errorf("%s of a key is printed: %s", name, printed)
			}
		}
	}
	var none *Keyring
	if got := fmt.Sprint(none); got != "keyring[]" {
		t.Errorf("a nil keyring prints %q", got)
	}
}
