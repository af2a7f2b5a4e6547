package http

import (
	"bytes"
	"strconv"
	"strings"
)

// plainIntegers writes the integers of a JSON text as Go reads them: in JSON, and in JSON Schema (2020-12, 6.1.1), 90.0 and
// 9e1 are the integer 90, and some languages write them so. Other numbers stay as they are, and so do integers of more than 18 digits.
// data has passed checkJSON.
func plainIntegers(data []byte) []byte {
	if !bytes.ContainsAny(data, ".eE") {
		return data
	}
	var plain []byte
	for at := 0; at < len(data); {
		end := at + 1
		switch c := data[at]; {
		case c == '"':
			for ; data[end] != '"'; end++ {
				if data[end] == '\\' {
					end++
				}
			}
			end++
			plain = append(plain, data[at:end]...)
		case c == '-' || '0' <= c && c <= '9':
			for end < len(data) && strings.IndexByte("+-.eE0123456789", data[end]) >= 0 {
				end++
			}
			plain = append(plain, plainInteger(string(data[at:end]))...)
		default:
			plain = append(plain, c)
		}
		at = end
	}
	return plain
}

const mostDigits = 18 // of what surely fits into an int64

// plainInteger is a number without point and exponent, if it can be written so.
func plainInteger(number string) string {
	digits, exponent, _ := strings.Cut(strings.ToLower(number), "e")
	shift, err := strconv.Atoi(exponent)
	if exponent != "" && err != nil {
		return number
	}
	digits, negative := strings.CutPrefix(digits, "-")
	whole, fraction, _ := strings.Cut(digits, ".")
	fraction = strings.TrimRight(fraction, "0")
	shift -= len(fraction)
	digits = strings.TrimLeft(whole+fraction, "0")
	if trimmed := strings.TrimRight(digits, "0"); shift < 0 && len(digits)-len(trimmed) >= -shift {
		digits, shift = digits[:len(digits)+shift], 0
	}
	switch {
	case digits == "":
		return "0"
	case shift < 0 || shift > mostDigits || len(digits)+shift > mostDigits:
		return number
	}
	digits += strings.Repeat("0", shift)
	if negative {
		return "-" + digits
	}
	return digits
}
