package domain

import (
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/google/uuid"
)

// MaxFileName is the longest name of a file, in bytes of UTF-8. File systems take no more.
const MaxFileName = 255

// Attachment is a file that belongs to a task. The bytes are kept encrypted in the store of blobs, and are removed when the attachment is
// deleted.
type Attachment struct {
	ID        uuid.UUID  `json:"id"`
	TaskID    uuid.UUID  `json:"task_id"`
	Name      string     `json:"name"`
	Size      int64      `json:"size" doc:"In bytes."`
	Type      string     `json:"type" doc:"The media type that the first bytes look like, whatever the name or the sender says. Nothing vouches for it."`
	Digest    string     `json:"digest" doc:"The SHA-256 of the bytes, in 64 hexadecimal digits." example:"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"`
	CreatedBy uuid.UUID  `json:"created_by"`
	CreatedAt time.Time  `json:"created_at"`
	UpdatedAt time.Time  `json:"updated_at"`
	DeletedAt *time.Time `json:"deleted_at"`
	Version   int        `json:"version"`
	Position  int64      `json:"position"`
}

// AttachmentStream names the stream of an attachment.
func AttachmentStream(id uuid.UUID) string { return "attachment-" + id.String() }

// The events of an attachment. Each is appended together with an event of the storage.
type (
	AttachmentAdded struct {
		TaskID uuid.UUID `json:"task_id"`
		Name   string    `json:"name"`
		Size   int64     `json:"size"`
		Type   string    `json:"type"`
		Digest string    `json:"digest"` // SHA-256 of the plain bytes, in hexadecimal digits
	}
	AttachmentDeleted struct{}
)

func init() {
	register[AttachmentAdded]("attachment.added")
	register[AttachmentDeleted]("attachment.deleted")
}

// Apply folds one event of the attachment's stream into its state.
func (a *Attachment) Apply(r Record) {
	switch e := r.Event.(type) {
	case AttachmentAdded:
		id, _ := StreamID("attachment", r.Stream)
		*a = Attachment{ID: id, TaskID: e.TaskID, Name: e.Name, Size: e.Size, Type: e.Type, Digest: e.Digest, CreatedBy: r.Actor, CreatedAt: r.At}
	case AttachmentDeleted:
		a.DeletedAt = &r.At
	}
	a.UpdatedAt, a.Version, a.Position = r.At, r.Version, r.Position
}

var digestForm = regexp.MustCompile(`^[0-9a-f]{64}$`)

// NewAttachment adds a file to a task.
func NewAttachment(e AttachmentAdded) ([]Event, error) {
	if err := CheckFileName(e.Name); err != nil {
		return nil, err
	}
	if e.Size < 0 || e.Type == "" || !digestForm.MatchString(e.Digest) {
		return nil, InvalidField("/file", "must have a size, a type and a digest")
	}
	return []Event{e}, nil
}

// Delete deletes the attachment.
func (a Attachment) Delete() ([]Event, error) { return []Event{AttachmentDeleted{}}, nil }

// CheckFileName refuses a text that cannot be the name of a file, or that is displayed as another name.
func CheckFileName(name string) error {
	if err := checkText("/file", name, 1, MaxFileName); err != nil {
		return err
	}
	switch {
	case len(name) > MaxFileName:
		return InvalidField("/file", "must have a name of at most %d bytes in UTF-8, has %d", MaxFileName, len(name))
	case name == "." || name == ".." || strings.ContainsAny(name, `/\`):
		return InvalidField("/file", "must have a name and not a path")
	case strings.ContainsFunc(name, func(r rune) bool { return unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp) || Ignorable(r) }):
		return InvalidField("/file", "must have a name of one line, without control characters")
	}
	return nil
}

// Parts gives the member's parts in the attachment.
func (a Attachment) Parts(member uuid.UUID) Parts { return creator(a.CreatedBy, member) }
