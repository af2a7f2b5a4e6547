package blob

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/internal/blob/blobtest"
)

// stores runs a test on a store of each kind.
func stores(t *testing.T, test func(t *testing.T, s Store)) {
	t.Parallel()
	t.Run("directory", func(t *testing.T) {
		t.Parallel()
		s, err := Open(t.Context(), "file://"+filepath.Join(t.TempDir(), "blobs"))
		if err != nil {
			t.Fatal(err)
		}
		test(t, s)
	})
	t.Run("s3", func(t *testing.T) {
		t.Parallel()
		s, err := Open(t.Context(), blobtest.Start(t).URL)
		if err != nil {
			t.Fatal(err)
		}
		test(t, s)
	})
}

var ofTests = NewKind("{folder}/{test}")

func newKey() string { return ofTests.Key(uuid.New(), uuid.New()) }

func put(t *testing.T, s Store, key string, data []byte) {
	t.Helper()
	if err := s.Put(t.Context(), key, func(w io.Writer) error { _, err := w.Write(data); return err }); err != nil {
		t.Fatal(err)
	}
}

func noise(n int) []byte {
	data := make([]byte, n)
	source := rand.NewChaCha8([32]byte{})
	_, _ = source.Read(data)
	return data
}

func keys(t *testing.T, s Store, folder string) (all []string) {
	t.Helper()
	if err := s.List(t.Context(), folder, func(i Item) error { all = append(all, i.Key); return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestStore(t *testing.T) {
	stores(t, func(t *testing.T, s Store) {
		if err := s.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
		folder := uuid.NewString()
		for _, size := range []int{0, 1, 100_000, partSize + 1, 2*partSize + 12345} {
			key, data := folder+"/"+uuid.NewString(), noise(size)
			put(t, s, key, data)
			b, err := s.Open(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size())); err != nil || !bytes.Equal(got, data) || b.Size() != int64(size) {
				t.Errorf("%d bytes came back as %d, %d said, %v", size, len(got), b.Size(), err)
			}
			for range 5 {
				from := rand.IntN(size + 1)
				part := make([]byte, rand.IntN(size-from+1))
				if n, err := b.ReadAt(part, int64(from)); len(part) > 0 && (n != len(part) || err != nil && !errors.Is(err, io.EOF)) || !bytes.Equal(part, data[from:from+len(part)]) {
					t.Errorf("%d bytes from %d of %d: %d, %v", len(part), from, size, n, err)
				}
			}
			if n, err := b.ReadAt(make([]byte, 10), int64(size)); n != 0 || !errors.Is(err, io.EOF) {
				t.Errorf("behind the end: %d, %v", n, err)
			}
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		}
		other := newKey()
		put(t, s, other, noise(10))
		listed := map[string]Item{}
		if err := s.List(t.Context(), folder, func(i Item) error { listed[i.Key] = i; return nil }); err != nil {
			t.Fatal(err)
		}
		if len(listed) != 5 || listed[other].Key != "" {
			t.Errorf("listed: %v", listed)
		}
		for key, item := range listed {
			if age := time.Since(item.Modified); age > time.Minute || age < -time.Minute {
				t.Errorf("%s is of %s", key, item.Modified)
			}
			for range 2 { // the second time there is nothing
				if err := s.Delete(t.Context(), key); err != nil {
					t.Error(err)
				}
			}
			if _, err := s.Open(t.Context(), key); !errors.Is(err, ErrMissing) {
				t.Errorf("deleted: %v", err)
			}
		}
		if left := keys(t, s, folder); left != nil {
			t.Errorf("left: %v", left)
		}
		if left := keys(t, s, uuid.NewString()); left != nil {
			t.Errorf("of a folder that is not there: %v", left)
		}
		if left := keys(t, s, strings.Split(other, "/")[0]); len(left) != 1 {
			t.Errorf("of the other folder: %v", left)
		}
	})
}

// Half a blob is none: whether its writer fails, or its caller leaves.
func TestHalfABlobIsNone(t *testing.T) {
	stores(t, func(t *testing.T, s Store) {
		for _, size := range []int{0, 100, partSize + 1, 2*partSize + 1} {
			broken := errors.New("cut off")
			key := newKey()
			err := s.Put(t.Context(), key, func(w io.Writer) error {
				if _, err := w.Write(noise(size)); err != nil {
					return err
				}
				return broken
			})
			if !errors.Is(err, broken) {
				t.Errorf("%d bytes: %v", size, err)
			}
			if _, err := s.Open(t.Context(), key); !errors.Is(err, ErrMissing) {
				t.Errorf("%d bytes: there is something: %v", size, err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			err = s.Put(ctx, key, func(w io.Writer) error {
				_, err := w.Write(noise(size))
				cancel()
				return errors.Join(err, ctx.Err())
			})
			if _, missing := s.Open(t.Context(), key); !errors.Is(err, context.Canceled) || !errors.Is(missing, ErrMissing) {
				t.Errorf("%d bytes, cancelled: %v, %v", size, err, missing)
			}
		}
		if n, err := s.Sweep(t.Context(), time.Now().Add(time.Hour)); n != 0 || err != nil {
			t.Errorf("%d were left unfinished, %v", n, err)
		}
	})
}

// What a process that was killed left is swept once it is old, and what is still being written is left alone.
func TestSweep(t *testing.T) {
	stores(t, func(t *testing.T, s Store) {
		begun, over := make(chan struct{}), make(chan struct{})
		var running sync.WaitGroup
		key := newKey()
		running.Go(func() {
			_ = s.Put(context.WithoutCancel(t.Context()), key, func(w io.Writer) error {
				_, err := w.Write(noise(2*partSize + 1)) // two parts, and some
				close(begun)
				<-over
				return errors.Join(err, errors.New("never finished"))
			})
		})
		<-begun
		if n, err := s.Sweep(t.Context(), time.Now().Add(-time.Hour)); n != 0 || err != nil {
			t.Errorf("swept %d that were begun just now, %v", n, err)
		}
		if n, err := s.Sweep(t.Context(), time.Now().Add(time.Hour)); n != 1 || err != nil {
			t.Errorf("swept %d, %v", n, err)
		}
		if n, err := s.Sweep(t.Context(), time.Now().Add(time.Hour)); n != 0 || err != nil {
			t.Errorf("swept %d once more, %v", n, err)
		}
		close(over)
		running.Wait()
		if _, err := s.Open(t.Context(), key); !errors.Is(err, ErrMissing) {
			t.Errorf("there is something: %v", err)
		}
	})
}

// Nothing is put under a key that is of no kind: nobody would know what it is of, and when it goes.
func TestKinds(t *testing.T) {
	stores(t, func(t *testing.T, s Store) {
		folder, id := uuid.New(), uuid.New()
		for _, key := range []string{folder.String() + "/thumbnail-" + id.String(), "thumbnails/" + id.String(), ofTests.Key(folder, id) + "x", strings.ToUpper(ofTests.Key(folder, id))} {
			if err := s.Put(t.Context(), key, func(io.Writer) error { return nil }); err == nil {
				t.Errorf("%s is put", key)
			}
		}
		if ids := ofTests.IDs(ofTests.Key(folder, id)); !slices.Equal(ids, []uuid.UUID{folder, id}) {
			t.Errorf("the ids in a key: %v", ids)
		}
	})
}

// Keys lead nowhere else, whatever is in them.
func TestKeysStayInside(t *testing.T) {
	stores(t, func(t *testing.T, s Store) {
		for _, key := range []string{"", "a", "/a", "a/", "../a", "a/..", "a/../b", "a/b/c", "a/.b", ".unfinished/a", `a\b/c`, "a/b\x00", "A/b", "a/é"} {
			put := s.Put(t.Context(), key, func(io.Writer) error { return nil })
			_, open := s.Open(t.Context(), key)
			if put == nil || open == nil || errors.Is(open, ErrMissing) || s.Delete(t.Context(), key) == nil {
				t.Errorf("%q is a key", key)
			}
		}
	})
}

func TestURLs(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "blobs", "/blobs", "file:blobs", "file://host/blobs", "file:///b?x=1", "s3://", "s3://b/prefix", "s3://key:secret@b", "s3://b?regio=x", "s3://b#x",
		"http://b", "s3://b?use_path_style=maybe", "s3://b?ssetype=AES256", "mem://", "file:///%zz"} {
		if _, err := Open(t.Context(), bad); !errors.Is(err, ErrURL) {
			t.Errorf("%q: %v", bad, err)
		} else if err := Check(t.Context(), bad); !errors.Is(err, ErrURL) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q checked: %v", bad, err)
		}
	}
}

// A store that cannot be used says so, and is used again once it can be.
func TestReach(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "blobs")
	s, err := Open(t.Context(), "file://"+folder)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(folder); err != nil {
		t.Fatal(err)
	}
	if s.Ping(t.Context()) == nil {
		t.Error("a folder that is gone can be reached")
	}
	g := blobtest.Start(t)
	s, err = Open(t.Context(), g.URL)
	if err != nil {
		t.Fatal(err)
	}
	key := newKey()
	put(t, s, key, []byte("x"))
	g.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if s.Ping(ctx) == nil {
		t.Error("a server that is gone can be reached")
	}
	if _, err := s.Open(ctx, key); err == nil || errors.Is(err, ErrMissing) {
		t.Errorf("what a server has that is gone: %v", err)
	}
	if err := s.Put(ctx, newKey(), func(w io.Writer) error { _, err := w.Write(noise(100)); return err }); err == nil {
		t.Error("stored nowhere")
	}
	g.Restart(t)
	if b, err := s.Open(t.Context(), key); err != nil || b.Size() != 1 {
		t.Errorf("after the restart: %v", err)
	}
	nowhere, err := Open(t.Context(), strings.Replace(g.URL, "blobs", "nowhere", 1))
	if err != nil {
		t.Fatal(err)
	}
	if err := nowhere.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("a bucket that is not there: %v", err)
	}
}

// sealer seals keys in clear, for one blob.
func sealer(of string) Sealer {
	return Sealer{
		Seal: func(key string) (string, error) { return of + key, nil },
		Open: func(sealed string) (string, error) {
			key, ok := strings.CutPrefix(sealed, of)
			if !ok {
				return "", errors.New("for something else")
			}
			return key, nil
		},
	}
}

func sealed(t *testing.T, s Store, key string, with Sealer, data []byte) {
	t.Helper()
	if err := s.Put(t.Context(), key, func(w io.Writer) error {
		e, err := with.Encrypt(w)
		if err != nil {
			return err
		}
		if _, err := e.Write(data); err != nil {
			return err
		}
		return e.Close()
	}); err != nil {
		t.Fatal(err)
	}
}

func TestSealed(t *testing.T) {
	stores(t, func(t *testing.T, s Store) {
		for _, size := range []int{0, 1, 64<<10 - 1, 64 << 10, 64<<10 + 1, partSize + 99} {
			key, data := newKey(), noise(size)
			sealed(t, s, key, sealer("one"), data)
			b, err := s.Open(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			plain, n, err := sealer("one").Decrypt(b)
			if err != nil || n != int64(size) {
				t.Fatalf("%d bytes: %d, %v", size, n, err)
			}
			for range 10 {
				from := rand.IntN(size + 1)
				to := from + rand.IntN(size-from+1)
				part := io.NewSectionReader(plain, int64(from), int64(to-from))
				if got, err := io.ReadAll(part); err != nil || sha256.Sum256(got) != sha256.Sum256(data[from:to]) {
					t.Errorf("%d to %d of %d: %v", from, to, size, err)
				}
			}
			if _, _, err := sealer("two").Decrypt(b); err == nil {
				t.Error("it opens as another")
			}
			_ = b.Close()
		}
	})
}

// Whatever is done to stored bytes shows: a bit turned, chunks swapped, an end cut off or put on, the bytes of another blob.
func TestDamagedBlobsDoNotOpen(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "blobs")
	s, err := Open(t.Context(), "file://"+folder)
	if err != nil {
		t.Fatal(err)
	}
	const chunk = 64<<10 + 16
	data := noise(3*64<<10 + 100)
	key := newKey()
	sealed(t, s, key, sealer("one"), data)
	file := filepath.Join(folder, key)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	begin := len(whole) - (3*chunk + 100 + 16) // of the first chunk
	damage := map[string]func() []byte{
		"nothing":         func() []byte { return nil },
		"the last chunk":  func() []byte { return whole[:begin+3*chunk] },
		"the last byte":   func() []byte { return whole[:len(whole)-1] },
		"a byte more":     func() []byte { return append(bytes.Clone(whole), 0) },
		"only the header": func() []byte { return whole[:begin] },
		"swapped chunks": func() []byte {
			return bytes.Join([][]byte{whole[:begin], whole[begin+chunk : begin+2*chunk], whole[begin : begin+chunk], whole[begin+2*chunk:]}, nil)
		},
		"a chunk taken out": func() []byte { return append(bytes.Clone(whole[:begin+chunk]), whole[begin+2*chunk:]...) },
	}
	for range 40 {
		at := rand.IntN(len(whole))
		damage[fmt.Sprint("a bit at ", at)] = func() []byte { b := bytes.Clone(whole); b[at] ^= 1 << rand.IntN(8); return b }
	}
	for name, damaged := range damage {
		if err := os.WriteFile(file, damaged(), 0o600); err != nil {
			t.Fatal(err)
		}
		b, err := s.Open(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		plain, n, err := sealer("one").Decrypt(b)
		if err == nil {
			_, err = io.ReadAll(io.NewSectionReader(plain, 0, n))
		}
		if err == nil {
			t.Errorf("%s: it opens", name)
		}
		_ = b.Close()
	}
}
