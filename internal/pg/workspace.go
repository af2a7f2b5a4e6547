package pg

import (
	"cmp"
	"encoding/hex"
	"strings"

	"github.com/google/uuid"
)

// Workspace names one workspace. It is a value that travels as an argument, never inside a context.
type Workspace struct {
	ID uuid.UUID
}

// Schema returns the name of the workspace's schema, which is also that of its role: "ws_" and 32 hexadecimal digits. It comes from the random
// id, because a slug can be guessed.
func (w Workspace) Schema() string {
	return "ws_" + strings.ReplaceAll(w.ID.String(), "-", "")
}

// Shadow names a schema with read models of the workspace beside the live ones. One kind has those of now, which a run of a rebuild derives
// anew; the other (a state) has those of a moment in the past, for a reader.
type Shadow struct {
	Workspace Workspace
	of, run   string
}

// NewShadow names a schema for a rebuild that no other run has.
func NewShadow(w Workspace) Shadow { return newShadow(w, "shadow") }

// NewState names a schema for a moment in the past that no other run has.
func NewState(w Workspace) Shadow { return newShadow(w, "state") }

func newShadow(w Workspace, of string) Shadow {
	id := uuid.New()
	return Shadow{Workspace: w, of: of, run: hex.EncodeToString(id[:6])}
}

// Schema returns the name of the schema. Of a Shadow without a run it is what the names of all shadows of the workspace begin with.
func (s Shadow) Schema() string {
	return s.Workspace.Schema() + "_" + cmp.Or(s.of, "shadow") + "_" + s.run
}
