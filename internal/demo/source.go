package demo

import (
	"bufio"
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
)

// sample is played when no file is given. All of it is invented.
//
//go:embed sample.ndjson
var sample string

// source is a file that is read twice: once to check it, once to play it.
type source struct {
	name string
	file io.ReadSeeker
	end  func() error
}

// open opens a file; "" is the built-in sample, "-" what comes in, which is put aside in a temporary file.
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

// maxLine is the longest line in bytes. The server takes no texts that would need more.
const maxLine = 8 << 20

// actions reads the file from its beginning, a line at a time. An error, which names its line, is the last thing
// it gives.
func (s source) actions() iter.Seq2[action, error] {
	return func(yield func(action, error) bool) {
		if _, err := s.file.Seek(0, io.SeekStart); err != nil {
			yield(action{}, fmt.Errorf("%s: %w", s.name, err))
			return
		}
		lines := bufio.NewScanner(s.file)
		lines.Buffer(make([]byte, 64<<10), maxLine)
		n := 0
		for lines.Scan() {
			n++
			text := bytes.TrimSpace(bytes.TrimPrefix(lines.Bytes(), []byte("\ufeff")))
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
		if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
			yield(action{}, s.wrong(n+1, fmt.Errorf("longer than %d bytes", maxLine)))
		} else if err != nil {
			yield(action{}, s.wrong(n+1, err))
		}
	}
}

// wrong is an error about a line.
func (s source) wrong(line int, err error) error {
	return fmt.Errorf("%s, line %d: %w", s.name, line, err)
}
