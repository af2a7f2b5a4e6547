package projections

import (
	"slices"
	"testing"

	"github.com/google/uuid"
)

// The state of each thing at the horizon is told at position 0. Pages go through those lines as through any others.
func TestPagesOfLines(t *testing.T) {
	t.Parallel()
	var lines []Line
	for _, position := range []int64{0, 0, 7, 7, 7, 0, 3, 9} {
		lines = append(lines, Line{Place: Place{Position: position}, ID: uuid.New()})
	}
	whole := pageAfter(lines, Place{}, len(lines))
	for limit := 1; limit <= len(lines); limit++ {
		var got []Line
		for after := (Place{}); ; after = got[len(got)-1].Place {
			page := pageAfter(lines, after, limit)
			got = append(got, page[:min(limit, len(page))]...)
			if len(page) <= limit {
				break
			}
		}
		if len(got) != len(lines) || !slices.EqualFunc(whole, got, func(a, b Line) bool { return a.ID == b.ID && a.Place == b.Place }) {
			t.Errorf("%d at a time: %v, not %v", limit, got, whole)
		}
	}
}
