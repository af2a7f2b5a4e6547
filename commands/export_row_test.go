package commands

import (
	"testing"
	"time"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/projections"
)

// A spreadsheet shows deleted things beside the others, so a deleted thing of every noun has a label.
func TestLabelsOfDeletedThings(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for label, state := range map[string]any{
		`""`:                           domain.Receiver{},
		`"deleted"`:                    domain.Receiver{DeletedAt: &now},
		`"in the trash"`:               domain.Task{DeletedAt: &now},
		`"deleted, without its bytes"`: domain.Attachment{DeletedAt: &now},
	} {
		rows, err := (&Commands{}).rows(t.Context(), pg.Workspace{}, []projections.StoredRow{{State: state}})
		if err != nil {
			t.Fatal(err)
		}
		if got := string(rows[0][labelColumn]); got != label {
			t.Errorf("%T: the label is %s, want %s", state, got, label)
		}
	}
}
