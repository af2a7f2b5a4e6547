package pg

import (
	"encoding/hex"
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

// Shadow names the schema in which one run of a rebuild derives the workspace's read models anew.
type Shadow struct {
	Workspace Workspace
	run       string
}

// NewShadow names a schema that no other run has.
func NewShadow(w Workspace) Shadow {
	id := uuid.New()
	return Shadow{Workspace: w, run: hex.EncodeToString(id[:6])}
}

// Schema is the name of the schema; of a Shadow without a run, what all names of the workspace's shadows begin with.
func (s Shadow) Schema() string { return s.Workspace.Schema() + "_shadow_" + s.run }
