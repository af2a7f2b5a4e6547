package checkpoint

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Checkpoint is the state of a log at a size.
type Checkpoint struct {
	Origin Origin
	Size   int64     // records
	Root   tlog.Hash // of the Merkle tree (RFC 6962) over them
}

// Origin names one life of one log. A restore from a backup begins another one, since no checkpoint may contradict an earlier one of
// the same origin (C2SP tlog-checkpoint).
type Origin struct {
	Site      string // where Kluis is, as a URL without its scheme
	Workspace uuid.UUID
	Epoch     int
}

// nowhere is the site of an installation that does not know where it is reached.
const nowhere = "kluis"

// NewOrigin makes the origin of a workspace's log at a public URL, which may be empty.
func NewOrigin(publicURL string, workspace uuid.UUID, epoch int) Origin {
	_, site, _ := strings.Cut(publicURL, "://")
	if site == "" {
		site = nowhere
	}
	return Origin{Site: strings.ReplaceAll(site, "+", "%2B"), Workspace: workspace, Epoch: epoch}
}

// String is the first line of a checkpoint, and the name of the keys that sign it.
func (o Origin) String() string {
	return o.Site + "/" + o.Workspace.String() + "/" + strconv.Itoa(o.Epoch)
}

// ParseOrigin is the inverse of String.
func ParseOrigin(text string) (o Origin, err error) {
	site, epoch, _ := cutLast(text)
	site, workspace, found := cutLast(site)
	if o.Workspace, err = uuid.Parse(workspace); err == nil {
		o.Epoch, err = strconv.Atoi(epoch)
	}
	if o.Site = site; err != nil || !found || o.Epoch < 1 || o.String() != text {
		return Origin{}, fmt.Errorf("%q is no origin of a log: expected <site>/<workspace id>/<epoch>", text)
	}
	return o, nil
}

func cutLast(text string) (before, after string, found bool) {
	i := strings.LastIndexByte(text, '/')
	if i < 0 {
		return "", text, false
	}
	return text[:i], text[i+1:], true
}

// Text is what is signed (C2SP tlog-checkpoint).
func (c Checkpoint) Text() string {
	return fmt.Sprintf("%s\n%d\n%s\n", c.Origin, c.Size, c.Root)
}

// Sign gives the signed note, with a signature by each signer.
func (c Checkpoint) Sign(signers ...note.Signer) ([]byte, error) {
	if len(signers) == 0 {
		return nil, errors.New("sign a checkpoint: there is no key")
	}
	return note.Sign(&note.Note{Text: c.Text()}, signers...)
}

// Parse reads a checkpoint, signed or not. It checks no signature.
func Parse(text []byte) (c Checkpoint, err error) {
	lines := strings.Split(string(text), "\n")
	if len(lines) < 4 || lines[3] != "" {
		return c, errors.New("it is no checkpoint: expected origin, size and root hash, a line each")
	}
	if c.Origin, err = ParseOrigin(lines[0]); err != nil {
		return c, err
	}
	c.Size, err = strconv.ParseInt(lines[1], 10, 64)
	if err != nil || c.Size < 0 || strconv.FormatInt(c.Size, 10) != lines[1] {
		return c, fmt.Errorf("%q is no size of a log", lines[1])
	}
	if c.Root, err = tlog.ParseHash(lines[2]); err != nil {
		return c, fmt.Errorf("%q is no root hash", lines[2])
	}
	return c, nil
}

// Keys make the verifiers of an origin. They are public: whoever has them can check and not sign.
type Keys interface {
	Verifiers(name string) []note.Verifier
}

// Open reads a signed checkpoint, of which one signature at least must be by one of the keys.
func Open(signed []byte, keys Keys) (Checkpoint, error) {
	c, err := Parse(signed)
	if err != nil {
		return c, err
	}
	opened, err := note.Open(signed, note.VerifierList(keys.Verifiers(c.Origin.String())...))
	if err != nil {
		return c, fmt.Errorf("no known key has signed the checkpoint of %s at %d: %w", c.Origin, c.Size, err)
	}
	return Parse([]byte(opened.Text))
}
