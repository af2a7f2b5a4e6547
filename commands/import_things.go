package commands

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/imports"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/projections"
)

// Actions name people, projects and tags. The goroutine that reads the actions makes those that do not exist.

// refresh reads the importer's role anew, because each placeholder that the import makes moves the roster.
func (i *importer) refresh(ctx context.Context) error {
	by, err := i.c.Projections.Standing(ctx, i.base.By)
	if err == nil && by == nil {
		err = sessionEnded()
	}
	if err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.base.By = *by
	return nil
}

// once makes a request that creates a thing which actions name. Its key is made of the source's name of the thing.
func (i *importer) once(kind, name string, a imports.Action, by uuid.UUID) Request {
	r := i.request(a, by)
	r.Once = i.key(kind, name)
	return r
}

// person gives the member for a person over there: whom an earlier import found, or else the member with the e-mail address, or else a placeholder. It is
// decided once, because the keys of what a person did are made of the member: found anew, another member would do all of it again.
func (i *importer) person(ctx context.Context, p imports.Person, a imports.Action) (uuid.UUID, error) {
	if id, known := i.people[p.Code]; known {
		return id, nil
	}
	name := []string{p.Code}
	id, gone, err := i.remembered(ctx, name)
	if err == nil && gone { // who left does nothing here any more
		name, id = append(name, id.String()), uuid.Nil
	}
	if err == nil && id == uuid.Nil {
		if id, err = i.memberWith(ctx, p.Email); err == nil && id != uuid.Nil {
			err = i.remember(ctx, name, id, a)
		}
	}
	if err == nil && id == uuid.Nil {
		if id, err = i.placeholder(ctx, name, p, a); err == nil {
			err = i.refresh(ctx)
		}
	}
	if err == nil {
		i.people[p.Code] = id
	}
	return id, err
}

// remembered gives the member whom an earlier import of the source found for a person, and whether that member is gone; uuid.Nil for none.
func (i *importer) remembered(ctx context.Context, name []string) (id uuid.UUID, gone bool, err error) {
	var found []eventstore.Found
	if err := i.read(ctx, eventstore.FindKey(&found, *i.key("person", name...))); err != nil || len(found) == 0 {
		return uuid.Nil, false, err
	}
	if err := json.Unmarshal([]byte(found[0].Answer), &id); err != nil {
		return uuid.Nil, false, fmt.Errorf("read whom an import found: %w", err)
	}
	m, err := i.c.Projections.AnyMember(ctx, i.in, id)
	return id, m.Gone(), err
}

// remember keeps the member whom the import has found for a person, which makes no event.
func (i *importer) remember(ctx context.Context, name []string, member uuid.UUID, a imports.Action) error {
	r := i.request(a, member)
	r.Original, r.Once = nil, i.key("person", name...)
	return retryOutage(ctx, func() error {
		_, err := i.c.change(ctx, r, func(a *attempt) (plan, error) {
			if err := a.read(ctx); err != nil {
				return plan{}, err
			}
			return plan{stream: domain.RosterStream, version: a.by.Roster, answer: `"` + member.String() + `"`}, allow(a.by, domain.CreateImport)
		})
		return err
	})
}

func (i *importer) memberWith(ctx context.Context, email string) (uuid.UUID, error) {
	normal, err := checkEmail("", email)
	if err != nil {
		return uuid.Nil, nil //nolint:nilerr // no member has an invalid address
	}
	w := i.base.By.Workspace
	own, err := i.c.Vault.Key(ctx, w, w.ID)
	if err != nil {
		return uuid.Nil, err
	}
	account, err := i.c.Projections.AccountByEmail(ctx, w, own.Hash(emailField, normal))
	if err != nil || account == nil {
		return uuid.Nil, err
	}
	return account.ID, nil
}

func (i *importer) placeholder(ctx context.Context, name []string, p imports.Person, a imports.Action) (id uuid.UUID, err error) {
	r := i.request(a, i.base.By.Member)
	r.Once = i.key("person", name...)
	r.Original = nil // the import makes the placeholder, and not a person over there
	err = retryOutage(ctx, func() error {
		done, err := i.c.PlaceMember(ctx, r, placeholderName(p))
		if id = done.State.ID; err == nil && !done.Repeated {
			i.count(func(n *ImportCounts) { n.People++ })
		}
		return err
	})
	return id, err
}

// placeholderName is the name of a placeholder: the first valid name of the full name over there, the login over there, and the words of that login,
// such as "bob smith" of "bob.smith@example.org".
func placeholderName(p imports.Person) string {
	code, _, _ := strings.Cut(p.Code, "@")
	words := strings.NewReplacer(".", " ", "/", " ").Replace(code)
	for _, name := range []string{p.Name, p.Code, words} {
		if name = truncate(name, domain.MaxName); domain.CheckName("", name) == nil {
			return name
		}
	}
	return "Somebody"
}

// project gives the project of an action, and makes it when it does not exist. The key comes from the key over there, or else from the name.
func (i *importer) project(ctx context.Context, a imports.Action) (uuid.UUID, error) {
	over := cmp.Or(a.ProjectKey, a.Project) // the key over there, or else the name
	if id, known := i.projects[over]; known {
		return id, nil
	}
	author, err := i.person(ctx, a.By, a)
	if err != nil {
		return uuid.Nil, err
	}
	r := i.once("project", over, a, author)
	key := projectKey(over)
	var done Result[domain.Project]
	for try := range 27 { // a key that another project has, or had, is never free again
		wanted := domain.ProjectCreated{Key: key, Name: truncate(a.Project, domain.MaxProjectName)}
		if try > 0 {
			wanted.Key += string(rune('A' + try - 1))
		}
		err = retryOutage(ctx, func() (err error) {
			done, err = i.c.CreateProject(ctx, r, wanted)
			return err
		})
		if refusal, refused := domain.Refusal(err); !refused || refusal.Code != "key_taken" {
			break
		}
	}
	if err == nil {
		i.projects[over] = done.State.ID
	}
	return done.State.ID, err
}

// projectKey makes a key of two to eight letters from the letters A to Z in a name.
func projectKey(name string) string {
	var key strings.Builder
	for _, letter := range strings.ToUpper(name) {
		if letter >= 'A' && letter <= 'Z' && key.Len() < 8 {
			key.WriteRune(letter)
		}
	}
	for key.Len() < 2 {
		key.WriteByte('X')
	}
	return key.String()
}

// tag gives the tag with a name, and makes it when it does not exist.
func (i *importer) tag(ctx context.Context, name string, a imports.Action) (uuid.UUID, error) {
	name = truncate(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, name), domain.MaxTag)
	if id, known := i.tags[name]; known {
		return id, nil
	}
	author, err := i.person(ctx, a.By, a)
	if err != nil {
		return uuid.Nil, err
	}
	var found []uuid.UUID
	if err := i.read(ctx, projections.TagCalled(&found, uniqueName(name).NameKey)); err != nil {
		return uuid.Nil, err
	}
	if len(found) == 0 {
		err = retryOutage(ctx, func() error {
			done, err := i.c.CreateTag(ctx, i.once("tag", name, a, author), name, nil)
			found = []uuid.UUID{done.State.ID}
			return err
		})
	}
	if err == nil {
		i.tags[name] = found[0]
	}
	return found[0], err
}

func (i *importer) read(ctx context.Context, query pg.Statement) error {
	return retryOutage(ctx, func() error {
		_, err := i.c.Projections.Fresh(ctx, i.base.By.Workspace, query)
		return err
	})
}
