package http

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth is how deep the arrays and objects of a body may nest.
const maxDepth = 32

// checkJSON tells whether data is one JSON value (RFC 8259) that can be stored and given back as it came.
// encoding/json would accept more: it replaces invalid UTF-8 and halves of surrogate pairs by U+FFFD, takes
// the last of two equal names, and nests 10,000 deep; and Postgres stores no U+0000. The errors say what is
// wrong and at which byte, never what stands there.
func checkJSON(data []byte) error {
	if !utf8.Valid(data) {
		return errors.New("it is not valid UTF-8")
	}
	if !json.Valid(data) {
		return notJSON(data)
	}
	c := checker{data: data}
	for c.at < len(data) {
		if err := c.step(); err != nil {
			return fmt.Errorf("at byte %d %w", c.at, err)
		}
	}
	return nil
}

func notJSON(data []byte) error {
	var ignored json.RawMessage
	syntax, ok := errors.AsType[*json.SyntaxError](json.Unmarshal(data, &ignored))
	if !ok {
		return errors.New("it is malformed")
	}
	return fmt.Errorf("it is malformed at byte %d", syntax.Offset)
}

// checker walks over bytes that are known to be valid JSON.
type checker struct {
	data []byte
	at   int
	open []map[string]bool // for each array or object that is open: nil, or the names seen
	name bool              // the next string is a name
}

func (c *checker) step() error {
	switch c.data[c.at] {
	case '{':
		c.name = true
		c.open = append(c.open, map[string]bool{})
	case '[':
		c.name = false
		c.open = append(c.open, nil)
	case '}', ']':
		c.open = c.open[:len(c.open)-1]
		c.name = false
	case ',':
		c.name = c.open[len(c.open)-1] != nil
	case '"':
		return c.text()
	}
	if len(c.open) > maxDepth {
		return fmt.Errorf("it nests more than %d deep", maxDepth)
	}
	c.at++
	return nil
}

// text walks over one string, to behind its closing quote.
func (c *checker) text() error {
	end := c.at + 1
	escaped := false
	for c.data[end] != '"' {
		if c.data[end] != '\\' {
			end++
			continue
		}
		escaped = true
		if c.data[end+1] != 'u' {
			end += 2
			continue
		}
		n, err := escape(c.data[end:])
		if err != nil {
			return err
		}
		end += n
	}
	raw := c.data[c.at : end+1]
	if c.name {
		if err := c.unique(raw, escaped); err != nil {
			return err
		}
	}
	c.name = false
	c.at = end + 1
	return nil
}

// escape checks the \uXXXX that s begins with, and gives its length: 6, or 12 for a surrogate pair.
func escape(s []byte) (int, error) {
	r := codeUnit(s)
	switch {
	case r == 0:
		return 0, errors.New("there is a NUL character")
	case !utf16.IsSurrogate(r):
		return 6, nil
	case bytes.HasPrefix(s[6:], []byte(`\u`)) && utf16.DecodeRune(r, codeUnit(s[6:])) != utf8.RuneError:
		return 12, nil
	}
	return 0, errors.New("there is half a surrogate pair")
}

func codeUnit(s []byte) rune {
	n, _ := strconv.ParseUint(string(s[2:6]), 16, 16) // valid JSON has four digits there
	return rune(n)
}

func (c *checker) unique(raw []byte, escaped bool) error {
	name := string(raw[1 : len(raw)-1])
	if escaped {
		if err := json.Unmarshal(raw, &name); err != nil {
			return errors.New("there is a malformed name")
		}
	}
	seen := c.open[len(c.open)-1]
	if seen[name] {
		return errors.New("there is a name for the second time in one object")
	}
	seen[name] = true
	return nil
}
