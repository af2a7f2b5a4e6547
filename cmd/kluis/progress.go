package main

import (
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress reports the progress of something: by a bar on a terminal, elsewhere by a line about once a second.
func progress(out io.Writer, what string) func(position, of int64) {
	if screen, ok := out.(*terminal); ok {
		return progressBar(screen.file, what)
	}
	last := time.Now()
	return func(position, of int64) {
		if time.Since(last) < time.Second && position < of {
			return
		}
		last = time.Now()
		fmt.Fprintf(out, "%s: %d of %d events (%d%%)\n", what, position, of, 100*position/max(of, 1))
	}
}

func progressBar(out io.Writer, what string) func(position, of int64) {
	var bar *progressbar.ProgressBar
	before := int64(-1)
	return func(position, of int64) {
		if bar == nil || position < before { // the next pass begins
			bar = progressbar.NewOptions64(of, progressbar.OptionSetWriter(out), progressbar.OptionSetDescription(what), progressbar.OptionSetWidth(30),
				progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionThrottle(100*time.Millisecond),
				progressbar.OptionOnCompletion(func() { fmt.Fprintln(out) }))
		}
		before = position
		_ = bar.Set64(position) // nothing depends on the bar
	}
}
