package domain

import (
	"fmt"

	"github.com/google/uuid"
)

// StorageStream is the one stream of the use of a workspace's quota. One stream keeps two uploads from taking the same bytes.
const StorageStream = "storage"

// StorageID is the id of the one storage that a workspace has.
var StorageID = uuid.NewSHA1(uuid.Nil, []byte(StorageStream))

// Storage counts the bytes of a workspace's files.
type Storage struct {
	ID       uuid.UUID `json:"id"`
	Bytes    int64     `json:"bytes"`
	Version  int       `json:"version"`
	Position int64     `json:"position"`
}

// The events of the storage.
type (
	StorageTaken struct {
		AttachmentID uuid.UUID `json:"attachment_id"`
		Size         int64     `json:"size"`
	}
	StorageFreed struct {
		AttachmentID uuid.UUID `json:"attachment_id"`
		Size         int64     `json:"size"`
	}
)

func init() {
	register[StorageTaken]("storage.taken")
	register[StorageFreed]("storage.freed")
}

// Apply folds one event of the storage into its state.
func (s *Storage) Apply(r Record) {
	switch e := r.Event.(type) {
	case StorageTaken:
		s.Bytes += e.Size
	case StorageFreed:
		s.Bytes -= e.Size
	}
	s.ID, s.Version, s.Position = StorageID, r.Version, r.Position
}

// Allowance is the largest file, and the largest sum of all files, of a plan, in bytes.
type Allowance struct{ File, All int64 }

const gib = 1 << 30

// Allowances are the allowances of the plans.
var Allowances = map[string]Allowance{
	"free":       {File: 2 * gib, All: 5 * gib},
	"pro":        {File: 5 * gib, All: 100 * gib},
	"business":   {File: 5 * gib, All: 1024 * gib},
	"enterprise": {File: 5 * gib, All: 10 * 1024 * gib},
}

// MaxFile is the largest file that any plan allows, in bytes.
const MaxFile = 5 * gib

// Take takes the bytes of a file from the quota of the plan. A change to a smaller plan deletes no file.
func (s Storage) Take(plan string, attachment uuid.UUID, size int64) ([]Event, error) {
	switch allowed := Allowances[plan]; {
	case size > allowed.File:
		return nil, Refuse(TooLarge, "file_too_large", "a file has at most %s on the plan %s: make it smaller, or choose a larger plan", bytesOf(allowed.File), plan)
	case s.Bytes+size > allowed.All:
		return nil, Refuse(Conflict, "quota_exceeded", "the files of the workspace have at most %s on the plan %s, and have %s: delete attachments, or choose a larger plan",
			bytesOf(allowed.All), plan, bytesOf(s.Bytes))
	}
	return []Event{StorageTaken{attachment, size}}, nil
}

// Free gives the bytes of a file back to the quota.
func (a Attachment) Free() []Event { return []Event{StorageFreed{a.ID, a.Size}} }

// bytesOf writes a number of bytes with a unit.
func bytesOf(n int64) string {
	units := []string{"bytes", "KiB", "MiB", "GiB", "TiB"}
	value, unit := float64(n), 0
	for value >= 1024 && unit < len(units)-1 {
		value, unit = value/1024, unit+1
	}
	if unit == 0 {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%.4g %s", value, units[unit])
}
