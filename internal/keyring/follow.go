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

// A keyring that came from a file follows it. Before it seals, it reads the file when that was last read LookEvery ago; when something does not
// open, it reads the file at once. So of several processes with one file, each opens what another has sealed with a key that it
// has not seen yet. And LookEvery after the file got a new first key, no process seals with an older one.
//
// A file that is refused changes nothing, and the keys of before stay in use. It is refused when it is missing, half written or readable by
// others, and when it has none of the keys in use, since no rotation makes such a file.
//
// Where Follow runs, a key that has gone from the file is dropped only when nothing needs it:
//
//  1. The keys of the file are in use. Those that have gone stay behind them, where they only decrypt.
//  2. Follow asks whether anything is sealed with them.
//  3. When nothing is, they are dropped. Otherwise Follow reports that, and asks again later, until they are back in the file or everything
//     was rewrapped.

// LookEvery is how long a process may go on to seal with the old keys after the file has changed.
const LookEvery = time.Second

// askAgain is the pause before Follow asks again whether keys that have gone are still needed.
const askAgain = 10 * time.Minute

// source is the file behind a keyring.
type source struct {
	path   string
	looked atomic.Pointer[time.Time] // when it was last read, by the monotonic clock, since the other one may be set back

	mu       sync.Mutex
	read     string // its text when it was last read, or why it could not be read
	changes  int    // how often read has changed
	refused  error  // why the last change was refused; nil when it was not
	followed bool   // Follow runs: keys that have gone stay in use
}

// Changed returns when the file behind the keys was last changed; the zero time when there is no file.
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

// try runs do with the keys. When do returns false and the file has other keys now, it runs do once more, with those.
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

// use puts the keys of the file in use. The caller holds the lock of the source.
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

// Follow reads the file until ctx ends. It calls tell after each change, with nil when the new keys are in use, and otherwise with the
// reason why they are not. It calls needs when keys have gone from the file: an error says that left does not open everything. Only one
// Follow runs for a keyring.
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
	told  int       // the number of the change that was told last
	asked time.Time // when needs was last called
}

// step tells what has changed, and drops keys that nothing needs.
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
		f.tell(fmt.Errorf("%s: the keys %v have gone from the file, and are still needed: put them back, and rotate before you take them out: %w", settingFile, gone, err))
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
