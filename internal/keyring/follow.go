package keyring

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A keyring that came out of a file follows it. A caller about to seal reads the file when nobody has for LookEvery, and a caller that
// meets something that does not open reads it at once. So of several processes with one file, each opens what another
// sealed with a key that it has not seen yet; and LookEvery after a new first key is there, none seals with an older one.
//
// A file that cannot be taken changes nothing, and the keys of before stay: one that is missing, half written, readable by
// others, or that has none of the keys of before, which no rotation makes.
//
// Where somebody calls Follow, a key that is gone from the file is not let go before it is known that nothing needs it:
//  1. The keys of the file are in use, and those that are gone stay behind them, where they only decrypt.
//  2. Follow asks whether anything is sealed with them.
//  3. If nothing is, they are let go; else that is told, and asked again later, until they are back or everything was rewrapped.

// LookEvery is for how long a process may go on to seal with the keys that it knows, after they changed in the file.
const LookEvery = time.Second

// askAgain is how long after the last time it is asked whether keys that are gone are needed still.
const askAgain = 10 * time.Minute

// source is the file behind a keyring.
type source struct {
	path   string
	looked atomic.Pointer[time.Time] // when: by the steady clock, since the other one may be set back

	mu       sync.Mutex
	read     string // what was in the file last, or why it could not be read
	changes  int    // how often that was something else
	refused  error  // why the last change was not taken; nil when it was
	followed bool   // keys that are gone stay
}

// Changed is when the file behind the keys was last changed; the zero time when there is none.
func (k *Keyring) Changed() time.Time {
	if k.source == nil {
		return time.Time{}
	}
	info, err := os.Stat(k.source.path)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// try runs do with the keys, and once more with what the file has now, when that is something else.
func (k *Keyring) try(do func([]secret) bool) {
	before := k.ring.Load()
	if do(*before) {
		return
	}
	k.reload(0)
	if after := k.ring.Load(); after != before {
		do(*after)
	}
}

// reload reads the key file, unless it was read less than age ago.
func (k *Keyring) reload(age time.Duration) {
	s := k.source
	if s == nil || age > 0 && time.Since(*s.looked.Load()) < age {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looked.Store(new(time.Now()))
	text, err := readFile(s.path)
	if err != nil {
		text = err.Error()
	}
	if text == s.read {
		return
	}
	s.read = text
	s.changes++
	if s.refused = err; err == nil {
		s.refused = k.use(text)
	}
}

// use puts the keys of the file in use. The caller has the source's lock.
func (k *Keyring) use(text string) error {
	keys, err := parseFile(text)
	if err != nil {
		return err
	}
	gone := slices.DeleteFunc(slices.Clone(k.keys()), func(key secret) bool { return has(keys, key) })
	if len(gone) == len(k.keys()) {
		return fmt.Errorf("%s: none of the keys in %s is one of those in use", settingFile, k.source.path)
	}
	if k.source.followed {
		keys = append(keys, gone...)
	}
	k.ring.Store(&keys)
	return nil
}

// Follow looks at the file until ctx ends. It tells of each change: nil when its keys are in use, else why they are not.
// needs is asked about keys that are gone from the file: whether what is left opens everything. One at most follows a keyring.
func (k *Keyring) Follow(ctx context.Context, tell func(error), needs func(ctx context.Context, left *Keyring) error) {
	f := follower{Keyring: k, tell: tell, needs: needs}
	if k.source != nil {
		k.source.mu.Lock()
		k.source.followed, f.told = true, k.source.changes
		k.source.mu.Unlock()
	}
	tick := time.NewTicker(LookEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
			k.reload(LookEvery)
			f.step(ctx)
		}
	}
}

type follower struct {
	*Keyring
	tell  func(error)
	needs func(context.Context, *Keyring) error
	told  int       // changes of the file
	asked time.Time // about keys that are gone
}

// step tells what is new, and lets keys go.
func (f *follower) step(ctx context.Context) {
	if f.source == nil {
		return
	}
	f.source.mu.Lock()
	text, changes, refused := f.source.read, f.source.changes, f.source.refused
	f.source.mu.Unlock()
	if changes != f.told {
		f.tell(refused)
		f.told, f.asked = changes, time.Time{}
	}
	left, err := parseFile(text)
	if refused != nil || err != nil || len(left) == len(f.keys()) || time.Since(f.asked) < askAgain {
		return
	}
	f.asked = time.Now()
	gone := fixed(f.keys()[len(left):]).IDs()
	if err := f.needs(ctx, fixed(left)); err != nil {
		f.tell(fmt.Errorf("%s: put the keys %v back into the file, which are still needed, and rotate before taking them out: %w", settingFile, gone, err))
		return
	}
	f.source.mu.Lock()
	defer f.source.mu.Unlock()
	if f.source.changes == changes {
		f.ring.Store(&left)
	}
}

func has(keys []secret, key secret) bool {
	return slices.ContainsFunc(keys, func(k secret) bool { return *k() == *key() })
}
