// Package archive reads and writes the file of an export: a ZIP with a manifest, which has the size and hash of every other file, and with a
// signature of the manifest.
//
//	archive.go  what is in an archive
//	write.go    writes one in constant memory, to any io.Writer
//	read.go     reads one that anybody may have made, and trusts nothing in it
package archive

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"golang.org/x/mod/sumdb/note"
)

// Version is the version of the format. A program reads archives of this version and of lower ones.
const Version = 1

// The files that every archive has.
const (
	ManifestName  = "manifest.json"
	SignatureName = "manifest.sig"
	LogName       = "log/events.ndjson"    // the lines that a replay serves
	OpenedName    = "log/opened.ndjson"    // what is sealed in those lines, and in baselines, in clear
	SignedName    = "log/checkpoint"       // the checkpoint of the log at the position of the export
	KeysName      = "log/verifier-keys"    // the keys that verify the checkpoint and the signature of the manifest
	BaselinesName = "log/baselines.ndjson" // of a pruned log: what the pruned records have made, a thing a line
	EdgeName      = "log/edge"             // of a pruned log: the hashes from which the Merkle tree goes on, a line each
	DataFolder    = "data/"                // <noun>.json and <noun>.csv
	FilesFolder   = "attachments/"         // <id>/<name>
)

// Manifest says what is in an archive.
type Manifest struct {
	Format    string    `json:"format"`  // "kluis-export"
	Version   int       `json:"version"` // see Version
	Schema    int       `json:"schema"`  // the last migration of the workspace
	Workspace Workspace `json:"workspace"`
	Origin    string    `json:"origin"` // of the log, as in checkpoints (C2SP tlog-checkpoint)
	UpTo      int64     `json:"up_to"`  // the position of the log that all files show
	Pruned    int64     `json:"pruned"` // the events up to this position are not in the log any more
	At        time.Time `json:"at"`
	Files     []File    `json:"files"`
	Missing   []Missing `json:"missing"`
}

// Workspace is the workspace that was exported.
type Workspace struct {
	ID   uuid.UUID `json:"id"`
	Slug string    `json:"slug"`
	Name string    `json:"name"`
	Plan string    `json:"plan"`
}

// File is one of the files. SHA256 is in hexadecimal.
type File struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
	Rows   int    `json:"rows,omitempty"` // of a table, or of the log
}

// Missing is an attachment whose bytes are not in the archive.
type Missing struct {
	ID     uuid.UUID `json:"id"`
	Reason string    `json:"reason"`
}

// Format is the value of Manifest.Format.
const Format = "kluis-export"

// Sign returns the signature of a manifest: a signed note (C2SP signed-note) over its SHA-256. No checkpoint has the same first line.
func Sign(origin string, manifest []byte, signers ...note.Signer) ([]byte, error) {
	signed, err := note.Sign(&note.Note{Text: signedText(origin, manifest)}, signers...)
	if err != nil {
		return nil, fmt.Errorf("sign the manifest: %w", err)
	}
	return signed, nil
}

// Check tells whether a signature is of this manifest, and by one of the keys.
func Check(origin string, manifest, signature []byte, verifiers []note.Verifier) error {
	opened, err := note.Open(signature, note.VerifierList(verifiers...))
	if err != nil {
		return fmt.Errorf("no known key has signed the manifest: %w", err)
	}
	if opened.Text != signedText(origin, manifest) {
		return errors.New("the signature is of another manifest")
	}
	return nil
}

func signedText(origin string, manifest []byte) string {
	sum := sha256.Sum256(manifest)
	return origin + "/export\n" + hex.EncodeToString(sum[:]) + "\n"
}

// Encode returns the manifest as it is written.
func (m Manifest) Encode() ([]byte, error) {
	if m.Missing == nil {
		m.Missing = []Missing{}
	}
	text, err := json.MarshalIndent(m, "", " ")
	return append(text, '\n'), err
}
