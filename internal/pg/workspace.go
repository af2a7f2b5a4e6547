package pg

import (
	"cmp"
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

// Shadow names a schema in which the workspace's read models are derived anew: those of now, by one run of a rebuild, or those of a moment,
// for whoever looks at it (a state).
type Shadow struct {
	Workspace Workspace
	of, run   string
}

// NewShadow names a schema that no other run has.
func NewShadow(w Workspace) Shadow { return newShadow(w, "shadow") }

// NewState names a schema for a moment, that no other run has.
func NewState(w Workspace) Shadow { return newShadow(w, "state") }

func newShadow(w Workspace, of string) Shadow {
	id := uuid.New()
	return Shadow{Workspace: w, of: of, run: hex.EncodeToString(id[:6])}
}

// Schema is the name of the schema; of a Shadow without a run, what all names of the workspace's shadows begin with.
func (s Shadow) Schema() string {
	return s.Workspace.Schema() + "_" + cmp.Or(s.of, "shadow") + "_" + s.run
}
