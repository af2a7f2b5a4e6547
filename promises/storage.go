package promises

import (
	"fmt"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

var _ = bring(noun{
	name:   "storage",
	rule:   judgeStorage,
	end:    judgeStorageEnd,
	stream: func(domain.Event, uuid.UUID) string { return domain.StorageStream },
})

type judgedStorage struct{ bytes int64 }

// judgeStorage checks that bytes are taken and given back once for each attachment, and that there are never more than the plan of then has.
func judgeStorage(o *oracle, e fact) error {
	storages := the[string, judgedStorage](o)
	if storages[""] == nil {
		storages[""] = &judgedStorage{}
	}
	kept := storages[""]
	switch event := e.event.(type) {
	case domain.StorageTaken:
		a := the[uuid.UUID, judgedAttachment](o)[event.AttachmentID]
		if a == nil || a.taken || a.size != event.Size {
			return fmt.Errorf("nobody added that")
		}
		a.taken = true
		kept.bytes += event.Size
		allowed := domain.Allowances[o.plan]
		return when(kept.bytes > allowed.All || event.Size > allowed.File, "there is no room for it on the plan "+o.plan)
	case domain.StorageFreed:
		a := the[uuid.UUID, judgedAttachment](o)[event.AttachmentID]
		if a == nil || !a.gone || a.freed || a.size != event.Size {
			return fmt.Errorf("nobody deleted that")
		}
		a.freed = true
		kept.bytes -= event.Size
		return nil
	}
	return errUnknown(e)
}

// judgeStorageEnd checks that every attachment has taken its bytes, and given them back when it is gone.
func judgeStorageEnd(o *oracle) error {
	for id, a := range the[uuid.UUID, judgedAttachment](o) {
		if !a.taken || a.freed != a.gone {
			return fmt.Errorf("the bytes of attachment %s are not accounted for", id)
		}
	}
	return nil
}
