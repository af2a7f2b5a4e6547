package checkpoint_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/kluis-eu/kluis/internal/blob"
	"github.com/kluis-eu/kluis/internal/checkpoint"
	"github.com/kluis-eu/kluis/internal/checkpoint/witnesstest"
)

// witness is one whose answers a test chooses.
type witness struct {
	*checkpoint.Witness
	name   string
	key    ed25519.PrivateKey
	answer func(w http.ResponseWriter, signed string)
}

func newWitness(t *testing.T, name string) *witness {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	w := &witness{name: name, key: private}
	w.answer = func(to http.ResponseWriter, signed string) { fmt.Fprint(to, w.line(signed)) }
	server := httptest.NewServer(http.HandlerFunc(func(to http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		_, signed, found := strings.Cut(string(body), "\n\n")
		if err != nil || !found || r.URL.Path != "/below/add-checkpoint" || r.Method != http.MethodPost {
			t.Errorf("%s %s: %s", r.Method, r.URL, body)
		}
		w.answer(to, signed)
	}))
	t.Cleanup(server.Close)
	if w.Witness, err = checkpoint.ParseWitness(server.URL + "/below/ " + witnesstest.Key(name, public)); err != nil {
		t.Fatal(err)
	}
	return w
}

// at is the time of all cosignatures.
const at = 1_700_000_000

// line is the cosignature of a signed checkpoint, as C2SP tlog-cosignature has it.
func (w *witness) line(signed string) string {
	text, _, _ := strings.Cut(signed, "\n\n")
	signature := ed25519.Sign(w.key, fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s\n", at, text))
	key := witnesstest.Key(w.name, w.key.Public().(ed25519.PublicKey))
	var hash [4]byte
	if _, err := fmt.Sscanf(strings.Split(key, "+")[1], "%08x", (*hashOf)(&hash)); err != nil {
		panic(err)
	}
	raw := append(binary.BigEndian.AppendUint64(hash[:], at), signature...)
	return "— " + w.name + " " + base64.StdEncoding.EncodeToString(raw) + "\n"
}

type hashOf [4]byte

// Scan is fmt.Scanner's.
func (h *hashOf) Scan(s fmt.ScanState, _ rune) error {
	var n uint32
	if _, err := fmt.Fscanf(s, "%08x", &n); err != nil {
		return err
	}
	binary.BigEndian.PutUint32(h[:], n)
	return nil
}

// ours is a checkpoint that our keys signed.
func ours(t *testing.T, size int64) (checkpoint.Checkpoint, []byte) {
	t.Helper()
	c := checkpoint.Checkpoint{Origin: checkpoint.NewOrigin("https://kluis.example.org", id, 1), Size: size, Root: tlog.RecordHash([]byte{byte(size)})}
	signers, err := newRing(t).Signers(c.Origin.String())
	if err != nil {
		t.Fatal(err)
	}
	signed, err := c.Sign(signers...)
	if err != nil {
		t.Fatal(err)
	}
	return c, signed
}

// What a witness answers is what it means, and a cosignature is one only when it verifies.
func TestWitnessAnswers(t *testing.T) {
	t.Parallel()
	w, other := newWitness(t, "witness.example/w1"), newWitness(t, "witness.example/w1")
	c, signed := ours(t, 5)
	_, another := ours(t, 6)
	status := func(code int, says string) func(http.ResponseWriter, string) {
		return func(to http.ResponseWriter, _ string) { to.WriteHeader(code); fmt.Fprint(to, says) }
	}
	var silent *checkpoint.SilentError
	var refused *checkpoint.RefusedError
	var size *checkpoint.OtherSizeError
	for name, k := range map[string]struct {
		answer func(http.ResponseWriter, string)
		is     func(error) bool
	}{
		"cosigned":          {nil, func(err error) bool { return err == nil }},
		"among other lines": {func(to http.ResponseWriter, s string) { fmt.Fprint(to, other.line(s)+w.line(s)+other.line(s)) }, func(err error) bool { return err == nil }},
		"by another key":    {func(to http.ResponseWriter, s string) { fmt.Fprint(to, other.line(s)) }, func(err error) bool { return errors.As(err, new(*note.UnverifiedNoteError)) }},
		"of another text":   {func(to http.ResponseWriter, _ string) { fmt.Fprint(to, w.line(string(another))) }, func(err error) bool { return errors.As(err, new(*note.InvalidSignatureError)) }},
		"nothing":           {status(200, ""), func(err error) bool { return err != nil }},
		"no line":           {status(200, "— x\n"), func(err error) bool { return err != nil }},
		"without end":       {func(to http.ResponseWriter, _ string) { _, _ = to.Write(bytes.Repeat([]byte("— x\n"), 1<<18)) }, func(err error) bool { return err != nil }},
		"another size":      {status(409, "3\n"), func(err error) bool { return errors.As(err, &size) && size.Size == 3 }},
		"no size":           {status(409, "-3\n"), func(err error) bool { return errors.As(err, &refused) }},
		"unknown":           {status(404, "unknown log"), func(err error) bool { return errors.As(err, &refused) && strings.Contains(err.Error(), "log-list") }},
		"unproven":          {status(422, "\x00\xff"), func(err error) bool { return errors.As(err, &refused) && refused.Status == 422 }},
		"elsewhere": {func(to http.ResponseWriter, _ string) {
			to.Header().Set("Location", "/below/there")
			to.WriteHeader(http.StatusTemporaryRedirect)
		}, func(err error) bool { return errors.As(err, &refused) && refused.Status == 307 }},
		"hung up": {func(http.ResponseWriter, string) { panic(http.ErrAbortHandler) }, func(err error) bool { return errors.As(err, &silent) }},
	} {
		if k.answer != nil {
			w.answer = k.answer
		} else {
			w.answer = func(to http.ResponseWriter, s string) { fmt.Fprint(to, w.line(s)) }
		}
		cosigned, err := w.Cosign(t.Context(), signed, checkpoint.Growth(0, nil, signed))
		if !k.is(err) {
			t.Errorf("%s: %v", name, err)
		}
		if want := string(signed) + w.line(string(signed)); err == nil && (string(cosigned.Note) != want || cosigned.Checkpoint != c || cosigned.At != time.Unix(at, 0).UTC()) {
			t.Errorf("%s: %+v\n%s", name, cosigned, cosigned.Note)
		}
	}
	for says, want := range map[string]int64{"0\n": 0, "12\n": 12} {
		w.answer = status(409, says)
		if n, err := w.Known(t.Context(), signed); err != nil || n != want {
			t.Errorf("%q: %d, %v", says, n, err)
		}
	}
	w.answer = status(422, "bad proof")
	if n, err := w.Known(t.Context(), signed); err != nil || n != 1 {
		t.Errorf("%d, %v", n, err)
	}
	w.answer = status(403, "who?")
	if _, err := w.Known(t.Context(), signed); !errors.As(err, &refused) {
		t.Error(err)
	}
}

// A setting that makes no sense is refused, and says why.
func TestParseWitness(t *testing.T) {
	t.Parallel()
	public, _, _ := ed25519.GenerateKey(nil)
	key := witnesstest.Key("w", public)
	plain, err := note.NewEd25519VerifierKey("w", public)
	if err != nil {
		t.Fatal(err)
	}
	if w, err := checkpoint.ParseWitness(" https://w.example/x  " + key); err != nil || w.Name() != "w" || !strings.Contains(key, w.ID()) {
		t.Errorf("%v, %v", w, err)
	}
	for _, text := range []string{"", "https://w.example", key, "https://w.example " + plain, "https://w.example " + key[:len(key)-4], "https://w.example w+00000000" + key[10:],
		"ftp://w.example " + key, "https:// " + key, "https://u:p@w.example " + key, "https://w.example?x " + key, "https://w.example x" + key, "https://w.example +" + key} {
		if w, err := checkpoint.ParseWitness(text); err == nil {
			t.Errorf("%q is %v", text, w)
		}
	}
}

// Of each witness the newest cosignature is kept, and the newest checkpoint that has as many as are wanted; what a witness did not sign is passed
// over, wherever it came from.
func TestKeptCosignatures(t *testing.T) {
	t.Parallel()
	store, err := blob.Open(t.Context(), "file://"+t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	kept := &checkpoint.Kept{Stores: []blob.Store{store}}
	a, b := newWitness(t, "a"), newWitness(t, "b")
	all := []*checkpoint.Witness{a.Witness, b.Witness}
	cosign := func(w *witness, signed []byte) {
		t.Helper()
		c, err := w.Cosign(t.Context(), signed, checkpoint.Growth(0, nil, signed))
		if err == nil {
			err = kept.KeepCosigned(t.Context(), w.Witness, c, all, 2)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	wanted := func() string {
		t.Helper()
		text, err := kept.CosignedAsWanted(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	five, first := ours(t, 5)
	six, second := ours(t, 6)
	if cosign(a, first); wanted() != "" {
		t.Errorf("one is not two: %s", wanted())
	}
	both := string(first) + b.line(string(first)) + a.line(string(first))
	if cosign(b, first); wanted() != both {
		t.Errorf("%s\nis not\n%s", wanted(), both)
	}
	if cosign(a, second); wanted() != both {
		t.Errorf("one of two is behind: %s", wanted())
	}
	found, err := kept.CosignedBy(t.Context(), id, all...)
	if err != nil || len(found) != 2 || found[0].Checkpoint != six || found[1].Checkpoint != five {
		t.Errorf("%v, %v", found, err)
	}
	if text := five.WithCosignatures(first, found...); string(text) != string(first)+b.line(string(first)) {
		t.Errorf("%s", text)
	}
	forged := strings.Replace(string(found[0].Note), "\n6\n", "\n7\n", 1)
	for _, key := range []string{"cosigned-" + a.ID(), "cosigned-" + b.ID()} {
		if err := store.Put(t.Context(), checkpoint.Folder(id)+"/"+key, func(to io.Writer) error { _, err := io.WriteString(to, forged); return err }); err != nil {
			t.Fatal(err)
		}
	}
	if found, err := kept.CosignedBy(t.Context(), id, all...); err != nil || len(found) != 0 {
		t.Errorf("%v, %v", found, err)
	}
}
