package promises

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

var _ = bring(noun{
	name:   "export",
	path:   "export",
	stream: func(domain.Event, uuid.UUID) string { return domain.ExportsStream },
	thing: func(t tester, x *tenant) uuid.UUID {
		return x.exported(t).ID
	},
	bodies: map[string]func(x *tenant) object{
		"request-export": func(*tenant) object { return object{} },
	},
	rule:   judgeExport,
	values: map[string][]string{"digest": {"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}},
})

// export asks for an export.
func (c *client) export(t tester) domain.Export {
	t.Helper()
	a := c.call(t, "POST", "/api/export", object{}).want(t, 202)
	x := decode[domain.Export](t, a)
	if at := a.header.Get("Location"); at != "/api/export/"+x.ID.String() {
		t.Errorf("the export is at %q", at)
	}
	return x
}

// exported asks for an export and makes its file, as the background does.
func (c *client) exported(t tester) domain.Export {
	t.Helper()
	x := c.export(t)
	if !c.process.background {
		if err := c.process.commands.RunExport(context.Background(), c.workspace, x.ID); err != nil {
			t.Fatal(err)
		}
	}
	return c.whole(t, x)
}

// whole waits for the end of an export.
func (c *client) whole(t tester, x domain.Export) domain.Export {
	t.Helper()
	for end := time.Now().Add(patience); x.Status == domain.ExportWaiting; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the export does not end: %+v", x)
		}
		x = decode[domain.Export](t, c.call(t, "GET", "/api/export/"+x.ID.String(), nil).want(t, 200))
	}
	if x.Status != domain.ExportDone {
		t.Fatalf("the export is %s: %s", x.Status, x.Failure)
	}
	return x
}

type judgedExport struct {
	by     uuid.UUID
	status string
	ended  time.Time
}

func judgeExport(o *oracle, e fact) error {
	id := e.event.(interface{ Export() uuid.UUID }).Export()
	exports := the[uuid.UUID, judgedExport](o)
	x := exports[id]
	if _, ok := e.event.(domain.ExportRequested); ok {
		var another error
		for _, other := range exports {
			another = firstError(another, when(other.status == domain.ExportWaiting, "another one is under way"))
		}
		exports[id] = &judgedExport{by: e.actor, status: domain.ExportWaiting}
		return firstError(o.may(e.actor, domain.CreateExport, true), when(x != nil, "it is there"), another)
	}
	if x == nil {
		return firstError(when(true, "there is no such export"))
	}
	was, by := x.status, when(e.actor != uuid.Nil, "Kluis itself does so")
	switch e.event.(type) {
	case domain.ExportFinished:
		x.status, x.ended = domain.ExportDone, e.At
		return firstError(by, when(was != domain.ExportWaiting, "it has ended"))
	case domain.ExportBroken:
		x.status = domain.ExportFailed
		return firstError(by, when(was != domain.ExportWaiting, "it has ended"))
	case domain.ExportDownloaded:
		return firstError(o.may(e.actor, domain.ReadExport, true), when(e.actor != x.by, "it is another's"),
			when(was != domain.ExportDone || e.At.After(x.ended.Add(domain.ExportLife)), "there is no file"))
	case domain.ExportEnded:
		x.status = domain.ExportExpired
		return firstError(by, when(was != domain.ExportDone, "there is no file"))
	}
	return errUnknown(e)
}
