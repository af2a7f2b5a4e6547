package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/mod/sumdb/note"

	"github.com/kluis-eu/kluis/internal/blob"
)

// Erasure says what was erased: a member of a workspace, or all of it. Signed, it is an entry of the ledger, or a certificate.
type Erasure struct {
	Site      string // where Kluis is, as in an Origin
	Workspace uuid.UUID
	Member    uuid.UUID // uuid.Nil: the whole workspace
	At        time.Time // when it was decided for good
	Facts     []Fact    // that a reader can check, or wants to know
}

// Fact is a line of an erasure. Neither part has a line break, and the name no space.
type Fact struct{ Name, Value string }

// erasures is the end of the name of the keys that sign.
const erasures = "erasures"

// NewErasure begins an erasure at a public URL, which may be empty.
func NewErasure(publicURL string, workspace, member uuid.UUID, at time.Time, facts ...Fact) Erasure {
	return Erasure{Site: NewOrigin(publicURL, workspace, 1).Site, Workspace: workspace, Member: member, At: at.UTC(), Facts: facts}
}

// Name is the first line of an erasure, and the name of the keys that sign it.
func (e Erasure) Name() string { return e.Site + "/" + erasures }

// Text is what is signed.
func (e Erasure) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nworkspace %s\n", e.Name(), e.Workspace)
	if e.Member != uuid.Nil {
		fmt.Fprintf(&b, "member %s\n", e.Member)
	}
	fmt.Fprintf(&b, "at %s\n", e.At.Format(time.RFC3339Nano))
	for _, f := range e.Facts {
		fmt.Fprintf(&b, "%s %s\n", f.Name, f.Value)
	}
	return b.String()
}

// Sign gives the signed note, with a signature by each signer.
func (e Erasure) Sign(signers ...note.Signer) ([]byte, error) {
	if len(signers) == 0 {
		return nil, errors.New("sign an erasure: there is no key")
	}
	return note.Sign(&note.Note{Text: e.Text()}, signers...)
}

// OpenErasure reads a signed erasure, of which one signature at least must be by one of the keys.
func OpenErasure(signed []byte, keys Keys) (e Erasure, err error) {
	name, _, _ := strings.Cut(string(signed), "\n")
	opened, err := note.Open(signed, note.VerifierList(keys.Verifiers(name)...))
	if err != nil {
		return e, fmt.Errorf("no known key has signed what says that it is an erasure: %w", err)
	}
	return parseErasure(opened.Text)
}

func parseErasure(text string) (e Erasure, err error) {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	site, is := strings.CutSuffix(lines[0], "/"+erasures)
	e.Site = site
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, " ")
		switch {
		case name == "workspace":
			e.Workspace, err = uuid.Parse(value)
		case name == "member":
			e.Member, err = uuid.Parse(value)
		case name == "at":
			e.At, err = time.Parse(time.RFC3339Nano, value)
		default:
			e.Facts = append(e.Facts, Fact{name, value})
		}
		if err != nil {
			break
		}
	}
	if err != nil || !is || e.Text() != text {
		return Erasure{}, errors.New("it is no erasure: expected a name, a workspace, perhaps a member, an instant, and facts, a line each")
	}
	return e, nil
}

// The ledger of erasures lies beside the checkpoints, outside the database: a backup that is put back does not have what was erased
// since, and is erased again by what the ledger says. Nothing in it is ever changed, and no place gives an entry up that another has.
//
//	erasures/<workspace>           of a whole workspace
//	erasures/<workspace>-<member>  of one member
//	certificates/<workspace>       what a workspace's erasure ended with
const (
	Ledgers      = "erasures" // the folder of the ledger
	certificates = "certificates"
)

// LedgerOfMembers is what the keys of the ledger's entries begin with that are of members of a workspace.
func LedgerOfMembers(workspace uuid.UUID) string { return Ledgers + "/" + workspace.String() + "-" }

// LedgerOf is the workspace of an entry of the ledger; uuid.Nil when the key is none of an entry.
func LedgerOf(key string) uuid.UUID {
	for _, kind := range []*blob.Kind{ofWorkspace, ofMember} {
		if ids := kind.IDs(key); ids != nil {
			return ids[0]
		}
	}
	return uuid.Nil
}

func (e Erasure) key() string {
	if e.Member != uuid.Nil {
		return ofMember.Key(e.Workspace, e.Member)
	}
	return ofWorkspace.Key(e.Workspace)
}

// KeepErasure enters a signed erasure in the ledger. An entry that is there stays as it is.
func (k *Kept) KeepErasure(ctx context.Context, e Erasure, signed []byte) error {
	return k.putOnce(ctx, e.key(), signed)
}

// KeepCertificate keeps what the erasure of a workspace ended with.
func (k *Kept) KeepCertificate(ctx context.Context, workspace uuid.UUID, signed []byte) error {
	return k.put(ctx, certificates+"/"+workspace.String(), signed)
}

// Forget takes away the checkpoints of a workspace that is erased, from the first place. In a second one, which nobody is meant to rewrite, they
// stay: they say how long the log was, and its root.
func (k *Kept) Forget(ctx context.Context, workspace uuid.UUID) error {
	if len(k.Stores) == 0 {
		return nil
	}
	_, err := k.Stores[0].Purge(ctx, Folder(workspace))
	return err
}

// Ledger is whose erasures are in a ledger, without their texts: see Kept.Erasure.
type Ledger struct {
	Workspaces map[uuid.UUID]bool
	Members    map[uuid.UUID][]uuid.UUID // by workspace
}

// Ledger lists the ledger, in all places.
func (k *Kept) Ledger(ctx context.Context) (Ledger, error) {
	l := Ledger{Workspaces: map[uuid.UUID]bool{}, Members: map[uuid.UUID][]uuid.UUID{}}
	seen := map[string]bool{}
	for _, store := range k.Stores {
		err := store.List(ctx, Ledgers, func(item blob.Item) error {
			if seen[item.Key] {
				return nil
			}
			seen[item.Key] = true
			if ids := ofWorkspace.IDs(item.Key); ids != nil {
				l.Workspaces[ids[0]] = true
			} else if ids := ofMember.IDs(item.Key); ids != nil {
				l.Members[ids[0]] = append(l.Members[ids[0]], ids[1])
			}
			return nil
		})
		if err != nil {
			return l, fmt.Errorf("list the ledger of erasures: %w", err)
		}
	}
	return l, nil
}

// Erasure gives a signed entry of the ledger; nil when there is none.
func (k *Kept) Erasure(ctx context.Context, workspace, member uuid.UUID) ([]byte, error) {
	key := Erasure{Workspace: workspace, Member: member}.key()
	for i := range k.Stores {
		text, err := (&Kept{Stores: k.Stores[i:]}).get(ctx, key)
		if err != nil || text != nil {
			return text, err
		}
	}
	return nil, nil
}
