package commands

import (
	"cmp"
	"context"
	"strings"
	"unicode"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
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

// person gives the member for a person over there: the member with the same e-mail address, or else a placeholder.
func (i *importer) person(ctx context.Context, p imports.Person, a imports.Action) (uuid.UUID, error) {
	if id, known := i.people[p.Code]; known {
		return id, nil
	}
	id, err := i.memberWith(ctx, p.Email)
	if err == nil && id == uuid.Nil {
		if id, err = i.placeholder(ctx, p, a); err == nil {
			err = i.refresh(ctx)
		}
	}
	if err == nil {
		i.people[p.Code] = id
	}
	return id, err
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

func (i *importer) placeholder(ctx context.Context, p imports.Person, a imports.Action) (id uuid.UUID, err error) {
	r := i.once("person", p.Code, a, i.base.By.Member)
	r.Original = nil // the import makes the placeholder, not a person over there
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
