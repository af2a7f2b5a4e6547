package promises

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/keyring"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/vault"
)

// Keys rotate under two processes that people write to: a new key is put into their file, everything is moved to it,
// the old one is taken out. No request fails, and afterwards the new key alone opens everything.
func TestKeysRotateUnderLoad(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := []*process{s.newProcess(t, true), s.newProcess(t, true)}
	admins := []*client{p[0].signUp(t), p[1].signUp(t), p[0].signUp(t)}
	bob := admins[0].member(t, "member")
	d := bob.enrol(t)
	var stop atomic.Bool
	var requests atomic.Int64
	var writers sync.WaitGroup
	for i, admin := range admins {
		writers.Go(func() {
			for n := 0; !stop.Load(); n++ {
				here, there := admin.on(p[(i+n)%2]), admin.on(p[(i+n+1)%2])
				bob := here.invite(t, "member") // a new data key, and a mail
				there.newTask(t)
				if n%5 == 0 {
					bob.process = there.process
					bob.enter(t, bob.accept(t, there.code(t, "invitation_code", bob.email), bob.password).want(t, 201))
					bob.newTask(t)
				}
				there.checkNames(t)
				id := here.call(t, "POST", "/api/integrations", object{"provider": "x", "name": "x", "access_token": bob.password}).want(t, 201)
				opened, err := there.commands.IntegrationSecrets(context.Background(), admin.workspace, decode[domain.Integration](t, id).ID)
				if err != nil || opened.Access != bob.password {
					t.Errorf("%+v, %v", opened, err)
				}
				waiting := &client{process: here.process, slug: "w" + uuid.NewString()[:13], name: "Someone", password: newPassword()}
				waiting.email = "x@" + waiting.slug + ".example"
				waiting.askForWorkspace(t)
				requests.Add(6)
			}
		})
	}
	defer writers.Wait()
	defer stop.Store(true)

	time.Sleep(500 * time.Millisecond)
	old := must(keyring.Load(s.keyFile, "")).IDs()[0]
	if err := keyring.Prepend(s.keyFile); err != nil {
		t.Fatal(err)
	}
	ring := must(keyring.Load(s.keyFile, ""))
	rotation := vault.Rotation{DB: p[0].db, Keys: ring, Workspaces: func(ctx context.Context) (all []pg.Workspace, err error) {
		for _, admin := range admins {
			all = append(all, admin.workspace)
		}
		return all, nil
	}}
	census, err := rotation.Run(t.Context())
	if err != nil || census.Older() != 0 || len(census.Unopened) != 0 || census.Keys[1] != old {
		t.Fatalf("%+v, %v", census, err)
	}
	t.Logf("%v after %d requests", census, requests.Load())

	s.dropOldKeys(t)
	for _, q := range p {
		if ids := q.keys.Now().IDs(); len(ids) != 1 || ids[0] != census.Keys[0] {
			t.Fatalf("a process has the keys %v", ids)
		}
	}
	time.Sleep(time.Second)
	stop.Store(true)
	writers.Wait()
	census, err = rotation.Count(t.Context())
	if err != nil || census.Older() != 0 || len(census.Unopened) != 0 {
		t.Errorf("%+v, %v", census, err)
	}
	fresh := s.newProcess(t, false)
	for _, admin := range admins {
		admin.on(fresh).checkNames(t)
		admin.logIn(t, admin.password).want(t, 200)
	}
	bob.on(fresh).logInWith(t, bob.password, d.code(t)).want(t, 200)
	bob.on(fresh).logInWith(t, bob.password, d.recovery[0]).want(t, 200)
	t.Logf("%d requests", requests.Load())
}

// dropOldKeys leaves the first key in the file.
func (s *site) dropOldKeys(t *testing.T) {
	t.Helper()
	text := string(must(os.ReadFile(s.keyFile)))
	lines := slices.DeleteFunc(strings.Split(strings.TrimSpace(text), "\n"), func(l string) bool { return strings.HasPrefix(l, "#") })
	if err := os.WriteFile(s.keyFile, []byte(lines[0]+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// checkNames checks that every member of the workspace has a name and an address.
func (c *client) checkNames(t tester) {
	t.Helper()
	for _, m := range pages[member](t, c, "/api/members", 200) {
		if m.Email == "" || m.FullName == "" {
			t.Errorf("member %s: %s", m.ID, fmt.Sprintf("%+v", m))
		}
	}
}
