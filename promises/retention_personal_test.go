package promises

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/fernet/fernet-go"
	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/commands"
)

// From where people did what is older than the plan says is nowhere in the database any more, whatever table there is, or will be: everything
// that the key file opens is opened, and searched.
func TestRetentionOfWhereRequestsCameFrom(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)[0]
	ada := p.signUp(t)
	bob := ada.member(t, "member")
	marker := "agent " + uuid.NewString()
	from := []string{"User-Agent: " + marker, "Idempotency-Key: k"}
	task := ada.newTask(t)
	for path, body := range map[string]object{"/api/tasks": {"title": "x"}, "/api/members": {"email": "carol@people.example", "full_name": "Carol", "role": "member"},
		"/api/export": nil, taskPath(task, "comments"): {"body": "x"}, "/api/tokens": {"name": "x", "expires_at": time.Now().Add(time.Hour)},
		"/api/members/" + bob.id.String() + "/deactivate": nil} {
		if a := ada.call(t, "POST", path, body, from...); a.status >= 300 {
			t.Fatalf("%s: %d %s", path, a.status, a.body)
		}
	}
	p.public().call(t, "POST", "/api/password/forgot", object{"workspace": ada.slug, "email": ada.email}, from[0]).want(t, 202)
	p.public().call(t, "POST", "/api/login", object{"workspace": ada.slug, "email": ada.email, "password": "a wrong password"}, from[0]).want(t, 401)
	p.public().call(t, "POST", "/api/login", object{"workspace": ada.slug, "email": ada.email, "password": ada.password}, from[0]).want(t, 200)
	p.commands.Wait() // for what goes on behind the answers
	ada.agree(t)
	if there := p.site.opened(t, dumpRows(t, p.site.url)); !strings.Contains(there, marker) || !strings.Contains(there, "meta.ip") {
		t.Fatal("the search does not find what is there")
	}
	if _, err := p.commands.Prune(t.Context(), ada.workspace, commands.Hearer{}); err != nil {
		t.Fatal(err)
	}
	if left := p.site.opened(t, dumpRows(t, p.site.url)); strings.Contains(left, marker) || strings.Contains(left, "meta.ip") {
		at := max(strings.Index(left, marker), strings.Index(left, "meta.ip"))
		t.Errorf("where somebody came from is left: %s", left[max(0, at-200):at+100])
	}
}

var (
	fernetToken = regexp.MustCompile(`gAAAA[\w-]+={0,2}`)
	aKey        = regexp.MustCompile(`(?m)^[\w-]{43}=`) // a line of a key file
)

// opened is a text, and behind it everything in it that the keys of the site open, and then the data keys that are in that, whatever it is for.
func (s *site) opened(t *testing.T, text string) string {
	t.Helper()
	keys := must(fernet.DecodeKeys(aKey.FindAllString(string(must(os.ReadFile(s.keyFile))), -1)...))
	tokens := fernetToken.FindAllString(text, -1)
	all := strings.Builder{}
	all.WriteString(text)
	for range 2 {
		var found []*fernet.Key
		for _, token := range tokens {
			plain := fernet.VerifyAndDecrypt([]byte(token), 0, keys)
			if plain == nil {
				continue
			}
			all.WriteString("\n" + string(plain))
			if key := new(fernet.Key); len(plain) > len(key) {
				copy(key[:], plain[len(plain)-len(key):])
				found = append(found, key)
			}
		}
		keys = found
	}
	return all.String()
}
