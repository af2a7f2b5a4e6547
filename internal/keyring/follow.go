package keyring

import (
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A keyring that came out of a file follows it. Nothing waits or polls: who is about to seal looks at the file when
// nobody has for LookEvery, and who meets something that does not open looks at once. So of several processes with one
// file, each opens what another sealed with a key that it has not seen yet; and LookEvery after a new first key is
// there, none seals with an older one.
//
// A file that cannot be taken changes nothing, and the keys of before stay: one that is missing, half written, readable by
// others, or that has none of the keys of before, which no rotation makes.

// LookEvery is for how long a process may go on to seal with the keys that it knows, after they changed in the file.
const LookEvery = time.Second

// source is the file behind a keyring.
type source struct {
	path   string
	looked atomic.Int64 // when, in ns since the epoch

	mu   sync.Mutex
	read fs.FileInfo // the file as it was read last, taken or not; nil when it was not there
	at   time.Time   // when that was
	tell func(error)
}

// Notify makes fn be called whenever the file has changed: with nil when its keys are in use now, else with the reason
// why they are not. It is called by whoever noticed.
func (k *Keyring) Notify(fn func(error)) {
	if k.source == nil {
		return
	}
	k.source.mu.Lock()
	defer k.source.mu.Unlock()
	k.source.tell = fn
}

// Changed is when the file behind the keys was last changed; the zero time when there is none.
func (k *Keyring) Changed() time.Time {
	if k.source == nil {
		return time.Time{}
	}
	k.source.mu.Lock()
	defer k.source.mu.Unlock()
	if k.source.read == nil {
		return time.Time{}
	}
	return k.source.read.ModTime()
}

// try runs do with the keys, and once more with what the file has now, when that is something else.
func (k *Keyring) try(do func([]secret) bool) {
	before := k.ring.Load()
	if do(*before) {
		return
	}
	k.look(0)
	if after := k.ring.Load(); after != before {
		do(*after)
	}
}

// look reads the file when it has changed since it was read, unless somebody looked less than age ago.
func (k *Keyring) look(age time.Duration) {
	s := k.source
	if s == nil || age > 0 && time.Since(time.Unix(0, s.looked.Load())) < age {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looked.Store(time.Now().UnixNano())
	info, err := os.Stat(s.path)
	if err != nil {
		info = nil
	}
	if s.same(info) {
		return
	}
	changed := !sameFile(s.read, info)
	s.read, s.at = info, time.Now()
	keys, err := loadFile(s.path)
	if err == nil && !slices.ContainsFunc(keys, func(key secret) bool { return has(k.keys(), key) }) {
		err = fmt.Errorf("%s: none of the keys in %s is one of those in use", settingFile, s.path)
	}
	if err == nil && !sameKeys(keys, k.keys()) {
		k.ring.Store(&keys)
		changed = true
	}
	if changed && s.tell != nil {
		s.tell(err)
	}
}

// same tells that the file is the one that was read. When it was changed just before it was read, the clock of the
// file system may have been too coarse to tell a later change from that one: then it is read again.
func (s *source) same(info fs.FileInfo) bool {
	return sameFile(s.read, info) && (info == nil || s.at.Sub(info.ModTime()) > time.Second)
}

func sameFile(a, b fs.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && a.Mode() == b.Mode()
}

func sameKeys(a, b []secret) bool {
	return slices.EqualFunc(a, b, func(a, b secret) bool { return *a() == *b() })
}

func has(keys []secret, key secret) bool {
	return slices.ContainsFunc(keys, func(k secret) bool { return *k() == *key() })
}
