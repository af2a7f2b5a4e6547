package pg

import "github.com/google/uuid"

// NextID returns the id right behind id. A caller that pages by id begins at uuid.Nil, and goes on at NextID of the last id that it got. uuid.Nil
// itself is an id, too: that of the policy of a workspace.
func NextID(id uuid.UUID) uuid.UUID {
	for i := len(id) - 1; i >= 0; i-- {
		if id[i]++; id[i] != 0 {
			break
		}
	}
	return id
}
