package pg

import (
	"strings"

	"github.com/google/uuid"
)

// Workspace names one tenant. It is a value that travels as an argument, never inside a context.
type Workspace struct {
	ID uuid.UUID
}

// Schema is the name of the workspace's schema, and of its role: "ws_" and 32 hexadecimal digits. It is
// made from the random id: a slug can be guessed, an id says nothing.
func (w Workspace) Schema() string {
	return "ws_" + strings.ReplaceAll(w.ID.String(), "-", "")
}
