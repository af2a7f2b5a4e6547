package demo

import (
	"bufio"
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"os"
	"strings"
)

// sample is the file that is played when none is given. All of it is invented.
//
//go:embed sample.ndjson
var sample string

// source is a file that is read several times: for its people, for the import, and for the counts.
type source struct {
	name string
	file io.ReaderAt
	end  func() error
}

// open opens a file; "" is the built-in sample, and "-" is standard input, which is copied into a temporary file.
func open(name string, in io.Reader) (source, error) {
	switch name {
	case "":
		return source{"the built-in sample", strings.NewReader(sample), func() error { return nil }}, nil
	case "-":
		return setAside(in)
	}
	file, err := os.Open(name)
	if err != nil {
		return source{}, err
	}
	return source{name, file, file.Close}, nil
}

func setAside(in io.Reader) (s source, err error) {
	if in == nil {
		return s, errors.New("there is no standard input to read")
	}
	file, err := os.CreateTemp("", "kluis-demo-*.ndjson")
	if err != nil {
		return s, fmt.Errorf("put standard input aside: %w", err)
	}
	end := func() error { return errors.Join(file.Close(), os.Remove(file.Name())) }
	if _, err := io.Copy(file, in); err != nil {
		return s, errors.Join(fmt.Errorf("put standard input aside: %w", err), end())
	}
	return source{"standard input", file, end}, nil
}

// maxLine is the longest line that is read, in bytes. The import already rejects shorter ones.
const maxLine = 8 << 20

// lines gives the lines of the file, including empty ones. An error ends it.
func (s source) lines() iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		lines := bufio.NewScanner(io.NewSectionReader(s.file, 0, math.MaxInt64))
		lines.Buffer(make([]byte, 64<<10), maxLine)
		n := 0
		for lines.Scan() {
			n++
			if !yield(bytes.TrimSpace(bytes.TrimPrefix(lines.Bytes(), []byte("\ufeff"))), nil) {
				return
			}
		}
		err := lines.Err()
		if errors.Is(err, bufio.ErrTooLong) {
			err = fmt.Errorf("longer than %d bytes", maxLine)
		}
		if err != nil {
			yield(nil, s.wrong(n+1, err))
		}
	}
}

// actions gives the actions of the lines. An error, which names its line, ends it.
func (s source) actions() iter.Seq2[action, error] {
	return func(yield func(action, error) bool) {
		n := 0
		for text, err := range s.lines() {
			n++
			if err != nil {
				yield(action{}, err)
				return
			}
			if len(text) == 0 {
				continue
			}
			a, err := parse(text)
			if err != nil {
				yield(action{}, s.wrong(n, err))
				return
			}
			a.Line = n
			if !yield(a, nil) {
				return
			}
		}
	}
}

// wrong is an error about a line.
func (s source) wrong(line int, err error) error {
	return fmt.Errorf("%s, line %d: %w", s.name, line, err)
}
