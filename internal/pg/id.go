package pg

import "github.com/google/uuid"

// NextID is the id right behind another one. Whoever pages by id asks for those from uuid.Nil on, which is one, too (that of the policy of a
// workspace), and then from here on.
func NextID(id uuid.UUID) uuid.UUID {
	for i := len(id) - 1; i >= 0; i-- {
		if id[i]++; id[i] != 0 {
			break
		}
	}
	return id
}
