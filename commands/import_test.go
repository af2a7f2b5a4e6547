package commands

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/kluis-eu/kluis/internal/imports"
)

func TestImportRealFile(t *testing.T) {
	file := os.Getenv("IMPORT_FILE")
	if file == "" {
		t.Skip()
	}
	h := newHouse(t, settings{})
	for _, org := range []string{"o2", "o3"} {
		ada := h.found(t)
		for range 2 {
			f, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			reasons := map[string]int{}
			counts, err := h.Import(t.Context(), ada.actor(t), home, Importing{Source: "tracker", Actions: imports.Read(f, imports.Options{Format: "tracker", Org: org}),
				Rejected: func(r imports.Reject) { reasons[strings.Map(func(c rune) rune {
					if c >= '0' && c <= '9' {
						return '#'
					}
					return c
				}, r.Reason)]++ }})
			took := time.Since(start)
			fmt.Println(org, counts, err, took, float64(counts.Actions)/took.Seconds(), reasons)
			f.Close()
		}
	}
}
