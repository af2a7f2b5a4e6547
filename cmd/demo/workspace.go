package demo

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kluis-eu/kluis/internal/upload"
)

// workspace is an org of the file on the server.
type workspace struct {
	plan *orgPlan
	names
	admin    *person
	password string            // the admin's; the only one that leaves this run
	locals   map[string]string // the part before the @ of each person's address
	people   map[string]*person
	inviting sync.Mutex // one at a time, because each invitation moves the stream on which all rely

	imported    upload.Import
	found       counts   // in the lists of the server; nil when they were not read
	differences []string // between the file and the lists
}

// rejects are the lines of the file that the import rejected.
func (w *workspace) rejects() (all []Reject) {
	for _, r := range w.imported.Rejects {
		all = append(all, Reject{r.Line - len(w.locals), r.Reason})
	}
	return all
}

// person is a member.
type person struct {
	id, token string
}

// admitted is the answer to a sign-up, an acceptance or a log-in.
type admitted struct {
	Token  string `json:"token"`
	Member struct {
		ID string `json:"id"`
	} `json:"member"`
}

func (a admitted) person() *person { return &person{id: a.Member.ID, token: a.Token} }

// stage makes the workspaces and members of a run.
type stage struct {
	client  *client
	mailbox *mailbox
}

// open signs up a workspace for an org. After a lost answer it signs up again with other names, so that two codes in one mailbox cannot be confused.
func (s *stage) open(ctx context.Context, o *orgPlan) (*workspace, error) {
	giveUp := time.Now().Add(s.client.patience)
	for attempt := 1; ; attempt++ {
		w, err := s.signUp(ctx, o)
		var lost *unansweredError
		var said *problem
		switch {
		case err == nil:
			return w, nil
		case refused(err, "slug_taken") && attempt < 10:
		case !errors.As(err, &lost) || errors.As(err, &said) || time.Now().After(giveUp):
			return nil, fmt.Errorf("org %q: sign up: %w", o.name, err)
		}
		if err := sleep(ctx, min(time.Duration(attempt)*100*time.Millisecond, 2*time.Second)); err != nil {
			return nil, err
		}
	}
}

func (s *stage) signUp(ctx context.Context, o *orgPlan) (*workspace, error) {
	w := &workspace{plan: o, names: newNames(o.name), password: random(20), people: map[string]*person{}, locals: locals(o.people)}
	email := w.email("admin")
	var pending struct {
		ID string `json:"signup_id"`
	}
	_, err := s.client.call(ctx, request{method: "POST", path: "/api/signup", once: true, body: map[string]any{
		"workspace": map[string]string{"slug": w.slug(), "name": "Demo " + o.name},
		"email":     email, "full_name": "Demo Admin", "password": w.password}}, &pending)
	if err != nil {
		return nil, err
	}
	code, err := s.mailbox.code(ctx, email)
	if err != nil {
		return nil, err
	}
	verify := request{method: "POST", path: "/api/signup/verify", body: map[string]string{"signup_id": pending.ID, "code": code}}
	in, err := s.admit(ctx, verify, w.slug(), email, w.password)
	w.admin = in.person()
	return w, err
}

// admit sends a request that opens a first session, and uses up its code. After a lost answer, a refusal may mean that the first try succeeded, and then a
// log-in works.
func (s *stage) admit(ctx context.Context, r request, slug, email, password string) (in admitted, err error) {
	a, err := s.client.call(ctx, r, &in)
	var said *problem
	if a.attempts > 1 && errors.As(err, &said) && said.Status < 500 {
		login := request{method: "POST", path: "/api/login", body: map[string]string{"workspace": slug, "email": email, "password": password}}
		if _, failed := s.client.call(ctx, login, &in); failed == nil {
			return in, nil
		}
	}
	return in, err
}

// invite makes a person of the file a member, with a session.
func (s *stage) invite(ctx context.Context, w *workspace, name, local string) (*person, error) {
	email, password := w.email(local), random(20)
	w.inviting.Lock()
	_, err := s.client.call(ctx, request{method: "POST", path: "/api/members", token: w.admin.token, key: w.tag + "/" + local,
		body: map[string]string{"email": email, "full_name": fullName(name), "role": "member"}}, nil)
	w.inviting.Unlock()
	if err != nil {
		return nil, fmt.Errorf("org %q: invite %q: %w", w.plan.name, name, err)
	}
	code, err := s.mailbox.code(ctx, email)
	if err != nil {
		return nil, fmt.Errorf("org %q: invite %q: %w", w.plan.name, name, err)
	}
	accept := request{method: "POST", path: "/api/invitations/accept",
		body: map[string]string{"workspace": w.slug(), "email": email, "code": code, "password": password}}
	in, err := s.admit(ctx, accept, w.slug(), email, password)
	if err != nil {
		return nil, fmt.Errorf("org %q: accept the invitation of %q: %w", w.plan.name, name, err)
	}
	return in.person(), nil
}

// gather invites all people of a workspace, several at once, because hashing their passwords takes by far the longest.
func (s *stage) gather(ctx context.Context, w *workspace, people *progress) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(cap(s.client.slots))
	for name, local := range w.locals {
		group.Go(func() error {
			p, err := s.invite(ctx, w, name, local)
			if err != nil {
				return err
			}
			w.inviting.Lock()
			defer w.inviting.Unlock()
			w.people[name] = p
			people.add(1)
			return nil
		})
	}
	return group.Wait()
}
