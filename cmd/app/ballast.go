package app

import (
	"os"
	"sync"
)

// ballast is memory that nobody touches, so that the system gives none for it. Go collects garbage whenever there is as much as is in use, and a
// server that uses 30 MB collected for an eighth of its time under load, for a fifth when it answered lists. With the ballast there are 64 MB
// more of garbage first, however much is in use. GOGC would let a server that uses much have a multiple of that, and with a limit that is too low
// for what is in use one collects without end (https://go.dev/doc/gc-guide#Suggested_uses).
var ballast []byte //nolint:unused // it is there to be there

const ballastSize = 64 << 20

// LoadBallast has a process that serves collect garbage less often, unless its operator has said how often.
var LoadBallast = sync.OnceFunc(func() {
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		ballast = make([]byte, ballastSize)
	}
})
