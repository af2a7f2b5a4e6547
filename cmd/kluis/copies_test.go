package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// backUp dumps both regions.
func (c *cells) backUp(t *testing.T) map[string][]byte {
	t.Helper()
	dumps := map[string][]byte{}
	for name, s := range c.region {
		dumps[name] = dump(t, s.SuperuserURL("kluis"))
	}
	return dumps
}

// putBack replaces the database of a region by its dump.
func (c *cells) putBack(t *testing.T, region string, backup map[string][]byte) {
	t.Helper()
	in := c.region[region]
	conn, err := pgx.Connect(t.Context(), in.SuperuserURL("postgres"))
	if err == nil {
		_, err = conn.Exec(t.Context(), `drop database kluis with (force)`)
	}
	if err == nil {
		err = conn.Close(t.Context())
	}
	if err == nil {
		err = in.CreateDatabase(t.Context(), "kluis")
	}
	if err != nil {
		t.Fatal(err)
	}
	psql(t, in.SuperuserURL("kluis"), backup[region])
}

// erasedIn tells whether a workspace was erased in a region, and nothing else is left of it.
func (c *cells) erasedIn(t *testing.T, region, id string) bool {
	t.Helper()
	return rowCount(t, c.admin(t, region), `select count(*)::int from kluis.workspace where id = $1::uuid and status = 'erased' and to_regnamespace('ws_' || replace(id::text, '-', '')) is null`, id) == 1
}

// diagnosed checks that the doctor says something about the regions, and gives its whole output.
func (c *cells) diagnosed(t *testing.T, wants ...string) (said string) {
	t.Helper()
	_, said, stderr := c.run("doctor")
	for _, want := range wants {
		if !strings.Contains(said, want) {
			t.Errorf("the doctor does not say %q:\n%s%s", want, said, stderr)
		}
	}
	return said
}

// logsIn logs in, and checks that the workspace is in a region.
func (s *server) logsIn(t *testing.T, slug, region string) *client {
	t.Helper()
	c := (&client{}).at(s)
	var in struct {
		Token  string
		Region string
	}
	decode(t, c.answers(t, "POST", "/api/login", loginAs(slug)), &in)
	c.token = in.Token
	if decode(t, c.answers(t, "GET", "/api/workspace", ""), &in); in.Region != region {
		t.Errorf("%s is served from %s, want %s", slug, in.Region, region)
	}
	return c
}

// answers waits until a request is answered. That may take a while when the workspace is compared or migrated first.
func (c *client) answers(t *testing.T, method, path, body string) []byte {
	t.Helper()
	var r reply
	until(t, method+" "+path+" is answered", func() (done bool) {
		var err error
		r, err = c.do(method, path, body)
		return err == nil && r.status < http.StatusMultipleChoices
	})
	return r.body
}

// refuses waits until a request is refused with a code.
func (c *client) refuses(t *testing.T, code, method, path, body string) {
	t.Helper()
	until(t, method+" "+path+" is refused as "+code, func() bool {
		r, err := c.do(method, path, body)
		return err == nil && r.status == http.StatusServiceUnavailable && strings.Contains(string(r.body), `"code":"`+code+`"`)
	})
}

// staysAway checks that a workspace which a backup brought back is never served, until nothing of it is left.
func (c *client) staysAway(t *testing.T, in *cells, region, id string) {
	t.Helper()
	until(t, "what was erased in another region goes from "+region, func() bool {
		if r, err := c.do("GET", "/api/tasks", ""); err == nil && r.status == http.StatusOK {
			t.Fatalf("what was erased in another region is served from %s", region)
		}
		left := in.left(t, region, id)
		return len(left) == 0
	})
}

// After a restore of the home, of another region, or of both from before a move, two regions never serve one workspace. The copy with the longer log is served, a
// workspace that is in no region is named, an erased one stays erased, and when each of two logs has records of its own neither is served until the operator decides.
func TestRestoredBehindAMove(t *testing.T) {
	t.Parallel()
	c := newCells(t)
	s := c.serve(t)
	ann, bob, eve := s.signUp(t, "brussels"), s.signUpIn(t, "berlin", "de"), s.signUp(t, "stays")
	brussels, _ := ann.me(t)
	berlin, _ := bob.me(t)
	erased := map[string]*client{"be": s.signUp(t, "erased-in-de"), "de": s.signUpIn(t, "erased-in-be", "de")} // by the region to which a backup brings them back
	ids := map[string]string{}
	for region, admin := range erased {
		ids[region], _ = admin.me(t)
	}
	atHome := s.signUp(t, "erased-at-home")
	atHomeID, _ := atHome.me(t)
	var cas struct{ ID string }
	decode(t, ann.want(t, http.StatusCreated, "POST", "/api/members", `{"email": "cas@example.org", "full_name": "Cas", "role": "member"}`).body, &cas)
	s.stop(t)
	before := c.backUp(t)
	c.must(t, "workspace", "move", "brussels", "de")
	c.must(t, "workspace", "move", "berlin", "be")
	for from, to := range map[string]string{"be": "de", "de": "be"} {
		c.must(t, "workspace", "move", "erased-in-"+to, to)
		c.must(t, "workspace", "erase", "--now", "--confirm", "erased-in-"+to, "erased-in-"+to)
		c.isNowhere(t, from, ids[from])
	}
	c.must(t, "workspace", "erase", "--now", "--confirm", "erased-at-home", "erased-at-home")
	s = c.serve(t)
	ann.at(s).want(t, http.StatusOK, "POST", "/api/members/"+cas.ID+"/erase", "")
	kept := ann.at(s).task(t, "behind the move")
	bob.at(s).task(t, "behind the move")
	s.stop(t)
	after := c.backUp(t)

	t.Run("the home", func(t *testing.T) {
		c.putBack(t, "be", before)
		said := c.diagnosed(t, "BAD   regions     workspace brussels is in more than one region", "the log in de has all records of the others", "workspace berlin is in no region, and the home's list says de",
			"workspace erased-in-de was erased in region de, and a backup brought it back in be",
			"workspace erased-in-be was erased, as the ledger of erasures in region be says, and a backup from before that was put back: the home's list says that it is in de", "servers note the erasure in the list",
			"workspace erased-at-home was erased, as the ledger of erasures in region be says, and a backup brought it back in be", "servers erase it again")
		if strings.Contains(said, "workspace stays") || strings.Contains(said, "keep erased") || strings.Contains(said, "workspace erased-in-be is in no region") {
			t.Errorf("the doctor has somebody bring back what was erased, or speaks of what is where it was:\n%s", said)
		}
		s := c.serve(t)
		ann.at(s).answers(t, "GET", "/api/tasks/"+kept, "")
		s.logsIn(t, "brussels", "de")
		eve.at(s).answers(t, "GET", "/api/tasks", "")
		bob.at(s).refuses(t, "workspace_missing", "GET", "/api/tasks", "")
		(&client{}).at(s).refuses(t, "workspace_missing", "POST", "/api/login", loginAs("berlin"))
		erased["be"].at(s).staysAway(t, c, "be", ids["be"])
		until(t, "what was erased at home is erased again", func() bool {
			if r, err := atHome.at(s).do("GET", "/api/tasks", ""); err == nil && r.status == http.StatusOK {
				t.Fatal("what was erased at home is served")
			}
			return c.erasedIn(t, "be", atHomeID)
		})
		until(t, "the home's list has what was erased in be after a move from de", func() bool {
			return rowCount(t, c.admin(t, "be"), `select count(*)::int from kluis.place where slug = 'erased-in-be' and erased`) == 1
		})
		for _, says := range []string{"workspace brussels is in more than one region", "workspace berlin is in no region"} {
			until(t, "the log says "+says, func() bool { return strings.Contains(s.log.String(), says) })
		}
		if said := c.must(t, "workspace", "keep", "--discard", "brussels", "de"); !strings.Contains(said, "deleted: be") {
			t.Error(said)
		}
		c.isNowhere(t, "be", brussels)
		s.stop(t)
	})

	t.Run("kept where a member is back who was erased in the other region", func(t *testing.T) {
		c.putBack(t, "be", before)
		c.putBack(t, "de", after)
		s := c.serve(t)
		ann.at(s).answers(t, "GET", "/api/tasks/"+kept, "")
		c.must(t, "workspace", "keep", "brussels", "be")
		if members := string(s.logsIn(t, "brussels", "be").answers(t, "GET", "/api/members", "")); strings.Contains(members, "cas@example.org") {
			t.Errorf("%s", members)
		}
		s.stop(t)
	})

	t.Run("another region", func(t *testing.T) {
		c.putBack(t, "be", after)
		c.putBack(t, "de", before)
		if said := c.must(t, "restored", "--region", "de"); !strings.Contains(said, "workspace berlin is in more than one region") || !strings.Contains(said, "the log in be has all") ||
			!strings.Contains(said, "workspace brussels is in no region, and the home's list says de") {
			t.Error(said)
		}
		s := c.serve(t)
		bob.at(s).answers(t, "GET", "/api/tasks", "")
		s.logsIn(t, "berlin", "be")
		ann.at(s).refuses(t, "workspace_missing", "GET", "/api/tasks", "")
		erased["de"].at(s).staysAway(t, c, "de", ids["de"])
		c.must(t, "workspace", "move", "berlin", "be") // the same as after a move that was broken off
		c.isNowhere(t, "de", berlin)
		s.stop(t)
	})

	t.Run("both, and then the target of a move that was killed behind its fence", func(t *testing.T) {
		c.putBack(t, "be", before)
		c.putBack(t, "de", before)
		c.diagnosed(t, "workspace erased-in-de was erased, as the ledger of erasures in region de says, and a backup brought it back in be",
			"workspace erased-in-be was erased, as the ledger of erasures in region be says, and a backup brought it back in de")
		if status, _, stderr := c.run("workspace", "keep", "erased-in-de", "be"); status != failure || !strings.Contains(stderr, "was erased, as the ledger of erasures in region de says") {
			t.Errorf("keep what was erased: %d, %s", status, stderr)
		}
		for region, n := range map[string]string{"be": "2", "de": "1"} {
			if said := c.must(t, "restored", "--region", region); !strings.Contains(said, n+" workspaces that were erased after the backup are erased again") {
				t.Errorf("restored in %s: %s", region, said)
			}
			if !c.erasedIn(t, region, ids[region]) {
				t.Errorf("what was erased in another region is back in %s", region)
			}
		}
		c.killAt(t, "moved", "workspace", "move", "brussels", "de")
		c.putBack(t, "de", before)
		c.diagnosed(t, "`kluis workspace keep brussels be` serves the copy that is still in be")
		if status, _, stderr := c.run("workspace", "move", "brussels", "de"); status != failure || !strings.Contains(stderr, "nothing of workspace \"brussels\" is deleted from be") {
			t.Errorf("a move to where what arrived is gone: %d, %s", status, stderr)
		}
		c.must(t, "workspace", "keep", "brussels", "be")
		s := c.serve(t)
		s.logsIn(t, "berlin", "de")
		again := s.logsIn(t, "brussels", "be")
		again.answers(t, "POST", "/api/tasks", `{"title": "nothing is lost"}`)
		if members := string(again.answers(t, "GET", "/api/members", "")); strings.Contains(members, "cas@example.org") {
			t.Errorf("a member who was erased in another region is back: %s", members)
		}
		s.stop(t)
	})

	t.Run("each has something of its own", func(t *testing.T) {
		c.putBack(t, "de", after) // brussels was written to in both
		s := c.serve(t)
		ann.at(s).refuses(t, "workspace_closed", "GET", "/api/tasks", "")
		until(t, "the log says so", func() bool { return strings.Contains(s.log.String(), "and each log has records that another lacks") })
		if status, _, stderr := c.run("workspace", "open", "brussels"); status != failure || !strings.Contains(stderr, "kluis workspace keep brussels") {
			t.Errorf("open which one? %d, %s", status, stderr)
		}
		if said := c.must(t, "replay", "--region", "be", "brussels"); !strings.Contains(said, "nothing is lost") {
			t.Errorf("the log of the one in be: %s", said)
		}
		c.must(t, "workspace", "keep", "--discard", "brussels", "de")
		ann.at(s).answers(t, "GET", "/api/tasks/"+kept, "")
		s.logsIn(t, "brussels", "de")
		c.isNowhere(t, "be", brussels)
	})
}
