package promises

import (
	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

var _ = bring(noun{
	name: "import",
	path: "import",
	thing: func(t tester, x *tenant) uuid.UUID {
		return x.imports(t, `{"at":"2011-08-19T08:13:00Z","actor":"p1","do":"task.create","task":"T-1","title":"`+x.private()+`"}`).ID
	},
	bodies: map[string]func(x *tenant) object{
		"request-import": func(*tenant) object { return object{"file": file{"a.ndjson", uuid.NewString()}} },
	},
	rule:   judgeImport,
	values: map[string][]string{"format": domain.ImportFormats},
})

// imports asks for an import of a tracker's lines.
func (c *client) imports(t tester, lines string) domain.Import {
	t.Helper()
	a := c.call(t, "POST", "/api/import?format=tracker", object{"file": file{"lines.ndjson", lines}}).want(t, 202)
	i := decode[domain.Import](t, a)
	if at := a.header.Get("Location"); at != "/api/import/"+i.ID.String() {
		t.Errorf("the import is at %q", at)
	}
	return i
}

type judgedImport struct{ ended bool }

func judgeImport(o *oracle, e fact) error {
	imports := the[uuid.UUID, judgedImport](o)
	i := imports[e.id]
	if _, ok := e.event.(domain.ImportRequested); ok {
		imports[e.id] = &judgedImport{}
		return firstError(o.may(e.actor, domain.CreateImport, true), when(i != nil, "it is there"))
	}
	switch e.event.(type) {
	case domain.ImportFinished, domain.ImportBroken:
		err := firstError(when(i == nil, "there is no such import"), when(i != nil && i.ended, "it has ended"), when(e.actor != uuid.Nil, "Kluis itself ends it"))
		if i != nil {
			i.ended = true
		}
		return err
	}
	return errUnknown(e)
}
