package imports

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"unicode/utf8"
)

// Of JSON documents at most so many things, and so many bytes of things, can be read: they are put in order before the first is played.
const (
	maxThings     = 200_000
	maxThingBytes = 256 << 20
)

// things reads the things of one or more JSON documents: each is an array of things, an object with such an array under a name, or one thing. They are played in the
// order of their first action, and what is below something else behind it.
func things(from io.Reader, name string, actions func(line int, data json.RawMessage) ([]Action, *Reject)) iter.Seq2[Action, error] {
	return func(yield func(Action, error) bool) {
		var all [][]Action
		number, size := 0, 0
		add := func(data json.RawMessage) bool {
			number++
			size += len(data)
			if number > maxThings || size > maxThingBytes {
				yield(Action{}, fmt.Errorf("the file has more than %d things, or more than %d MiB of them: divide it", maxThings, maxThingBytes>>20))
				return false
			}
			if !utf8.Valid(data) {
				return yield(Action{Line: number}, rejected(number, "the text is not UTF-8"))
			}
			of, wrong := actions(number, data)
			if wrong != nil {
				return yield(Action{Line: number, Task: of[0].Task}, wrong)
			}
			if len(of) > 0 {
				all = append(all, of)
			}
			return true
		}
		pieces := &bounded{from: from}
		documents := json.NewDecoder(pieces)
		for {
			more, err := document(documents, pieces, name, add)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil && yield(Action{Line: number + 1}, rejected(number+1, "behind thing %d the file is no JSON: %s", number, err)) {
				break
			}
			if err != nil || !more {
				return
			}
		}
		play(all, yield)
	}
}

// play gives the actions of things, each in its turn.
func play(all [][]Action, yield func(Action, error) bool) {
	for _, of := range inOrder(all) {
		for _, a := range of {
			var wrong error
			if reject := a.check(); reject != nil {
				wrong = reject
			}
			if !yield(a, wrong) {
				return
			}
		}
	}
}

// document reads one document, and hands its things to add, until that wants no more. The error is io.EOF when there is no further document.
func document(documents *json.Decoder, pieces *bounded, name string, add func(json.RawMessage) bool) (more bool, err error) {
	next := func() (piece json.RawMessage, err error) {
		pieces.next()
		if err = documents.Decode(&piece); errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF // within a document
		}
		return piece, err
	}
	pieces.next()
	begin, err := documents.Token()
	if err != nil {
		return false, err
	}
	object := map[string]json.RawMessage{}
	switch begin {
	case json.Delim('['):
		for documents.More() {
			if thing, err := next(); err != nil || !add(thing) {
				return false, err
			}
		}
	case json.Delim('{'):
		for documents.More() {
			key, err := documents.Token()
			if err != nil {
				return false, err
			}
			if object[key.(string)], err = next(); err != nil { // the decoder refuses any other key
				return false, err
			}
		}
	default:
		thing, err := json.Marshal(begin)
		return err == nil && add(thing), err
	}
	if _, err := documents.Token(); err != nil { // of the end
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return false, err
	}
	if begin == json.Delim('[') {
		return true, nil
	}
	var list []json.RawMessage
	if json.Unmarshal(object[name], &list) != nil {
		thing, err := json.Marshal(object)
		return err == nil && add(thing), err
	}
	for _, thing := range list {
		if !add(thing) {
			return false, nil
		}
	}
	return true, nil
}

// maxPiece is the longest piece of a file that is read at once, in bytes: a row, an issue, or a page of issues.
const maxPiece = 64 << 20

var errPiece = fmt.Errorf("one piece of the file is longer than %d MiB", maxPiece>>20)

// bounded reads from a file no more than maxPiece between two calls of next.
type bounded struct {
	from io.Reader
	read int
}

func (b *bounded) next() { b.read = 0 }

func (b *bounded) Read(p []byte) (int, error) {
	if b.read >= maxPiece {
		return 0, errPiece
	}
	n, err := b.from.Read(p[:min(len(p), maxPiece-b.read)])
	b.read += n
	return n, err
}

// inOrder puts things in the order of their first action, each behind the one that is above it.
func inOrder(all [][]Action) (ordered [][]Action) {
	slices.SortStableFunc(all, func(a, b []Action) int { return a[0].At.Compare(b[0].At) })
	byTask := map[string][]Action{}
	for _, of := range all {
		byTask[of[0].Task] = of
	}
	placed := map[string]bool{}
	var place func(of []Action)
	place = func(of []Action) {
		if placed[of[0].Task] {
			return
		}
		placed[of[0].Task] = true
		if above := byTask[of[0].Parent]; above != nil {
			place(above)
		}
		ordered = append(ordered, of)
	}
	for _, of := range all {
		place(of)
	}
	return ordered
}
