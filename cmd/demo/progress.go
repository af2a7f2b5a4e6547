package demo

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress shows the progress of something: by a bar on a terminal, elsewhere by a line for every tenth.
type progress struct {
	out   io.Writer
	what  string
	total int
	bar   *progressbar.ProgressBar // nil when out is not a terminal

	mu   sync.Mutex
	done int
}

func newProgress(out io.Writer, what string, total int) *progress {
	p := &progress{out: out, what: what, total: total}
	if file, ok := out.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		p.bar = progressbar.NewOptions(total,
			progressbar.OptionSetWriter(out),
			progressbar.OptionSetDescription(fmt.Sprintf("%-8s", what)),
			progressbar.OptionSetWidth(30),
			progressbar.OptionShowCount(),
			progressbar.OptionShowIts(),
			progressbar.OptionSetRenderBlankState(true),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionOnCompletion(func() { fmt.Fprintln(out) }))
	}
	return p
}

// add says that n more are done.
func (p *progress) add(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.done
	p.done += n
	if p.bar != nil {
		_ = p.bar.Add(n) // nothing depends on the bar
		return
	}
	if tenth := p.done * 10 / p.total; tenth > before*10/p.total {
		fmt.Fprintf(p.out, "%-8s %3d%%  %s of %s\n", p.what, tenth*10, thousands(p.done), thousands(p.total))
	}
}

// stop ends the line of a bar that did not reach its end.
func (p *progress) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil && p.done < p.total {
		fmt.Fprintln(p.out)
	}
}

// thousands writes 11013 as 11,013.
func thousands(n int) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
