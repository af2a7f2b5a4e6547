package promises

import (
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

var _ = bring(noun{
	name:  "token",
	thing: func(t tester, x *tenant) uuid.UUID { _, token := x.newToken(t, narrow()...); return token.ID },
	bodies: map[string]func(x *tenant) object{
		"create-token": func(*tenant) object {
			return object{"name": "n", "expires_at": time.Now().Add(time.Hour), "grants": narrow()}
		},
	},
	rule: judgeToken,
})

func narrow() []domain.Grant { return []domain.Grant{{Resource: "task", Action: "read", Scope: "own"}} }

type judgedToken struct {
	by   uuid.UUID
	gone bool
}

// judgeToken is the rule of API tokens: each member has their own.
func judgeToken(o *oracle, e fact) error {
	tokens := the[uuid.UUID, judgedToken](o)
	k := tokens[e.id]
	if _, ok := e.event.(domain.TokenCreated); ok {
		tokens[e.id] = &judgedToken{by: e.actor}
		return firstError(o.active(e.actor), when(k != nil, "it is there"))
	}
	if k == nil || k.gone {
		return fmt.Errorf("there is no such token")
	}
	k.gone = true
	return firstError(o.active(e.actor), when(k.by != e.actor, "it is another's"))
}

type apiToken struct {
	ID        uuid.UUID
	Name      string
	Grants    domain.Grants
	ExpiresAt time.Time  `json:"expires_at"`
	UsedAt    *time.Time `json:"used_at"`
	Token     string
}

var tomorrow = time.Now().Add(24 * time.Hour).UTC().Truncate(time.Second)

// newToken makes a token with grants, or with none given, and gives the same person with it.
func (c *client) newToken(t tester, grants ...domain.Grant) (*client, apiToken) {
	t.Helper()
	body := object{"name": "script", "expires_at": tomorrow}
	if grants != nil {
		body["grants"] = grants
	}
	made := decode[apiToken](t, c.call(t, "POST", "/api/tokens", body).want(t, 201))
	if !strings.HasPrefix(made.Token, "klp_") || !made.ExpiresAt.Equal(tomorrow) {
		t.Fatalf("made %+v", made)
	}
	c.site.secret(made.Token)
	return c.as(made.Token), made
}

func grant(p domain.Permission, scope domain.Scope) domain.Grant {
	return domain.Grant{Resource: p.Resource, Action: p.Action, Scope: scope}
}
