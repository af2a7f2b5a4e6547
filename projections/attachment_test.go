package projections

import (
	"testing"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

// The bytes of an attachment are needed when it exists, also when the read models do not have it yet. They are not needed when it was deleted or
// never existed.
func TestNeeds(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	by := p.found(t)
	w, task := by.Workspace, p.task(t, by, "first")
	there, gone, unseen, never := uuid.New(), uuid.New(), uuid.New(), uuid.New()
	add := func(id uuid.UUID) {
		p.append(t, w, by.Member, domain.AttachmentStream(id), 0, domain.AttachmentAdded{TaskID: task, Name: "a", Size: 1, Type: "text/plain", Digest: "x"})
	}
	add(there)
	add(gone)
	p.append(t, w, by.Member, domain.AttachmentStream(gone), 1, domain.AttachmentDeleted{})
	if _, err := p.CatchUp(minute(t), w); err != nil {
		t.Fatal(err)
	}
	add(unseen)
	needs, err := p.Needs(minute(t), w, []uuid.UUID{there, gone, unseen, never})
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[uuid.UUID]Need{there: {Kept: true}, gone: {Gone: true}, unseen: {Kept: true}, never: {}} {
		if needs[id] != want {
			t.Errorf("%s: %+v, want %+v", id, needs[id], want)
		}
	}
}
