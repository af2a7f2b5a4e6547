package password

import (
	"context"
	"errors"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/argon2"
)

func hasher(t testing.TB, p Params, slots, queue int) *Hasher {
	t.Helper()
	h, err := NewHasher(p, slots, queue)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func mustHash(t testing.TB, h *Hasher, password string) string {
	t.Helper()
	phc, err := h.Hash(t.Context(), "x", password)
	if err != nil {
		t.Fatal(err)
	}
	return phc
}

func TestHashVerify(t *testing.T) {
	h := hasher(t, Floor, 2, 8)
	phc := mustHash(t, h, "correct horse")
	if !strings.HasPrefix(phc, "$argon2id$v=19$m=19456,t=2,p=1$") || phc == mustHash(t, h, "correct horse") {
		t.Fatalf("hash %q", phc)
	}
	for password, want := range map[string]bool{"correct horse": true, "correct horsf": false, "": false, "Correct horse": false, "correct horse ": false} {
		if ok, rehash, err := h.Verify(t.Context(), "x", phc, password); ok != want || rehash || err != nil {
			t.Errorf("%q: got %v, %v, %v, want %v, false, nil", password, ok, rehash, err, want)
		}
	}
}

// The reference implementation's vector, https://github.com/P-H-C/phc-winner-argon2/blob/master/src/test.c: what other
// programs hash verifies here, and is replaced.
func TestKnownHash(t *testing.T) {
	h := hasher(t, Floor, 1, 0)
	const want = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	if ok, rehash, err := h.Verify(t.Context(), "x", want, "password"); !ok || !rehash || err != nil {
		t.Fatalf("got %v, %v, %v", ok, rehash, err)
	}
}

// "é" typed as one code point or two is the same password.
func TestNormalised(t *testing.T) {
	h := hasher(t, Floor, 1, 0)
	phc := mustHash(t, h, "caf\u00e9 au lait \u212b")
	for _, same := range []string{"cafe\u0301 au lait A\u030a", "caf\u00e9 au lait \u00c5"} {
		if ok, _, err := h.Verify(t.Context(), "x", phc, same); !ok || err != nil {
			t.Errorf("%q: got %v, %v", same, ok, err)
		}
	}
	if ok, _, _ := h.Verify(t.Context(), "x", phc, "cafe au lait A"); ok {
		t.Error("accents were dropped")
	}
}

func TestRehash(t *testing.T) {
	old := hasher(t, Floor, 1, 0)
	phc := mustHash(t, old, "correct horse")
	for _, p := range []Params{{Floor.Memory + 1, 2, 1}, {Floor.Memory, 3, 1}, {Floor.Memory, 2, 2}} {
		h := hasher(t, p, 1, 0)
		if ok, rehash, err := h.Verify(t.Context(), "x", phc, "correct horse"); !ok || !rehash || err != nil {
			t.Errorf("%+v: got %v, %v, %v, want true, true, nil", p, ok, rehash, err)
		}
		if ok, rehash, err := h.Verify(t.Context(), "x", phc, "wrong"); ok || rehash || err != nil {
			t.Errorf("%+v, wrong password: got %v, %v, %v", p, ok, rehash, err)
		}
	}
}

func TestNewHasherRefuses(t *testing.T) {
	for _, p := range []Params{
		{}, {Floor.Memory - 1, 2, 1}, {Floor.Memory, 1, 1}, {Floor.Memory, 2, 0},
		{ceiling.Memory + 1, 2, 1}, {Floor.Memory, ceiling.Time + 1, 1}, {Floor.Memory, 2, ceiling.Threads + 1},
	} {
		if _, err := NewHasher(p, 1, 0); err == nil {
			t.Errorf("%+v was accepted", p)
		}
	}
	for _, n := range [][2]int{{0, 1}, {-1, 1}, {1, -1}} {
		if _, err := NewHasher(Floor, n[0], n[1]); err == nil {
			t.Errorf("%d slots and a queue of %d were accepted", n[0], n[1])
		}
	}
	if _, err := NewHasher(Default, 2, 0); err != nil {
		t.Error(err)
	}
}

// What is no text or too long is refused by Hash, and nobody's password for Verify and VerifyNone alike: no work.
func TestImpossiblePasswords(t *testing.T) {
	h := hasher(t, Floor, 1, 0)
	phc := mustHash(t, h, "correct horse")
	h.derive = func(_, _ []byte, _, _ uint32, _ uint8, _ uint32) []byte { t.Error("hashed"); return nil }
	for password, want := range map[string]error{"\xff is no UTF-8": ErrNotText, strings.Repeat("x", 1025): ErrLong} {
		if _, err := h.Hash(t.Context(), "x", password); !errors.Is(err, want) {
			t.Errorf("Hash: got %v, want %v", err, want)
		}
		if ok, rehash, err := h.Verify(t.Context(), "x", phc, password); ok || rehash || err != nil {
			t.Errorf("Verify: got %v, %v, %v", ok, rehash, err)
		}
		if err := h.VerifyNone(t.Context(), "x", password); err != nil {
			t.Errorf("VerifyNone: %v", err)
		}
	}
}

// An account that does not exist costs what one with a current hash costs, and is nobody's.
func TestVerifyNone(t *testing.T) {
	h := hasher(t, Floor, 1, 0)
	phc := mustHash(t, h, "correct horse")
	type work struct {
		password           string
		salt               int
		time, memory, size uint32
		threads            uint8
	}
	var done []work
	h.derive = func(password, salt []byte, time, memory uint32, threads uint8, size uint32) []byte {
		done = append(done, work{string(password), len(salt), time, memory, size, threads})
		return argon2.IDKey(password, salt, time, memory, threads, size)
	}
	_, _, err := h.Verify(t.Context(), "x", phc, "wrong one")
	if errNone := h.VerifyNone(t.Context(), "x", "wrong one"); err != nil || errNone != nil {
		t.Fatal(err, errNone)
	}
	if len(done) != 2 || done[0] != done[1] {
		t.Fatalf("work %+v", done)
	}
	for _, guess := range []string{"", "correct horse", strings.Repeat("\x00", 32)} {
		if ok, _, err := h.Verify(t.Context(), "x", h.none, guess); ok || err != nil {
			t.Errorf("%q opens no account: got %v, %v", guess, ok, err)
		}
	}
}

// 64 at once with 2 slots: never more than 2 run, each is answered, and what they take at any time is far from 64
// buffers.
func TestMemoryBounded(t *testing.T) {
	h := hasher(t, Floor, 2, 62)
	phc := mustHash(t, h, "correct horse")
	var running, most atomic.Int32
	h.derive = func(password, salt []byte, time, memory uint32, threads uint8, size uint32) []byte {
		n := running.Add(1)
		defer running.Add(-1)
		for seen := most.Load(); n > seen && !most.CompareAndSwap(seen, n); seen = most.Load() {
		}
		return argon2.IDKey(password, salt, time, memory, threads, size)
	}
	runtime.GC()
	debug.FreeOSMemory()
	var base, peak uint64
	base = inUse()
	stop := make(chan struct{})
	var sampler, wg sync.WaitGroup
	sampler.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
				peak = max(peak, inUse())
			}
		}
	})
	for range 64 {
		wg.Go(func() {
			if ok, _, err := h.Verify(t.Context(), "x", phc, "correct horse"); !ok || err != nil {
				t.Errorf("got %v, %v", ok, err)
			}
		})
	}
	wg.Wait()
	close(stop)
	sampler.Wait()
	if most.Load() > 2 {
		t.Errorf("%d hashes ran at once, want at most 2", most.Load())
	}
	buffers := (float64(peak) - float64(base)) / float64(Floor.Memory<<10)
	t.Logf("heap peaked %.1f buffers of %d KiB above its start", buffers, Floor.Memory)
	if buffers > 16 { // 2 alive, the rest waits for the collector: seen were 5
		t.Errorf("heap peaked %.1f buffers above its start", buffers)
	}
}

func inUse() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// blocked returns a hasher whose hashes end only when the channel is closed.
func blocked(t testing.TB, slots, queue int) (*Hasher, chan struct{}) {
	h := hasher(t, Floor, slots, queue)
	end := make(chan struct{})
	h.derive = func(_, _ []byte, _, _ uint32, _ uint8, size uint32) []byte {
		<-end
		return make([]byte, size)
	}
	return h, end
}

func TestBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, end := blocked(t, 2, 3)
		errs := make(chan error, 5)
		for range 5 {
			go func() { errs <- h.VerifyNone(t.Context(), "x", "x") }()
		}
		synctest.Wait()
		for range 10 {
			if err := h.VerifyNone(t.Context(), "x", "x"); !errors.Is(err, ErrBusy) {
				t.Fatalf("got %v, want ErrBusy", err)
			}
			if _, err := h.Hash(t.Context(), "x", "x"); !errors.Is(err, ErrBusy) {
				t.Fatalf("got %v, want ErrBusy", err)
			}
		}
		close(end)
		for range 5 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		if err := h.VerifyNone(t.Context(), "x", "x"); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

// Who gives up while waiting makes room at once; who gives up while hashing is waited for, and the slot comes free.
func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, end := blocked(t, 1, 2)
		running, giveUp := context.WithTimeout(t.Context(), time.Second)
		defer giveUp()
		first := make(chan error, 1)
		go func() { first <- h.VerifyNone(running, "x", "x") }()
		synctest.Wait()
		for range 20 { // more than the queue has room for
			waiting, cancel := context.WithTimeout(t.Context(), time.Minute)
			if err := h.VerifyNone(waiting, "x", "x"); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("got %v, want DeadlineExceeded", err)
			}
			cancel()
		}
		if h.queue.waiting != 0 || h.queue.free != 0 {
			t.Fatalf("%d wait, %d slots are free", h.queue.waiting, h.queue.free)
		}
		close(end)
		if err := <-first; err != nil {
			t.Errorf("a hash that had begun: %v", err)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		for range 50 {
			if _, err := h.Hash(gone, "x", "x"); !errors.Is(err, context.Canceled) {
				t.Fatalf("got %v, want Canceled", err)
			}
		}
		if h.queue.waiting != 0 || h.queue.free != 1 {
			t.Fatalf("%d wait, %d slots are free", h.queue.waiting, h.queue.free)
		}
	})
}

// A hash that panics gives its slot back.
func TestPanicFreesSlot(t *testing.T) {
	h := hasher(t, Floor, 1, 0)
	h.derive = func(_, _ []byte, _, _ uint32, _ uint8, _ uint32) []byte { panic("out of luck") }
	func() {
		defer func() {
			if recover() == nil {
				t.Error("did not panic")
			}
		}()
		_ = h.VerifyNone(t.Context(), "x", "x")
	}()
	if h.queue.waiting != 0 || h.queue.free != 1 {
		t.Fatalf("%d wait, %d slots are free", h.queue.waiting, h.queue.free)
	}
}
