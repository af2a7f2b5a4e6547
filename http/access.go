package http

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/projections"
)

// access says who may call an operation. The zero value is no rule, and an operation with it does not start.
type access struct {
	rule       string // what the schema shows: "public", "signed_in" or a permission
	permission domain.Permission
	session    bool // not with an API token: what a token that leaked must not do
}

var (
	public   = access{rule: "public"}    // anybody, without a token
	signedIn = access{rule: "signed_in"} // any active member

	// withSession is signedIn for a caller with a session, not with an API token.
	withSession = access{rule: "signed_in", session: true}
)

// needs is the rule that the caller's role grants p, over any scope.
func needs(p domain.Permission) access {
	if !slices.Contains(domain.Permissions, p) {
		panic("http: there is no permission " + p.String())
	}
	return access{rule: p.String(), permission: p}
}

// inSession is the same rule for callers with a session, not with an API token.
func (r access) inSession() access {
	r.session = true
	return r
}

func (r access) explain(description string) string {
	who := "Needs the permission `" + r.rule + "`"
	switch {
	case r == public:
		return description
	case r.rule == signedIn.rule:
		who = "Any active member may"
	}
	if r.session {
		who += ", with a session and not with an API token"
	}
	return strings.TrimSpace(description + "\n\n" + who + ".")
}

// extensions are the entries of the schema that OpenAPI has no field for. A public operation has an empty list of securities, which huma would leave out.
func (r access) extensions() map[string]any {
	said := map[string]any{"x-required-permission": r.rule}
	if r == public {
		said["security"] = []any{}
	}
	return said
}

func (r access) security() []map[string][]string {
	if r == public {
		return nil
	}
	return []map[string][]string{{bearerScheme: {}}}
}

// authorise lets a caller through who may call the operation, and refuses every other caller. An operation without a rule is refused, too, an operation without a rule,
// however that came to be registered.
func (a *api) authorise(ctx huma.Context, next func(huma.Context)) {
	rule, _ := ctx.Operation().Metadata[accessKey].(access)
	exchangeOf(ctx.Context()).op = ctx.Operation()
	switch rule {
	case access{}:
		refuse(ctx, newProblem(http.StatusForbidden))
		return
	case public:
		next(ctx)
		return
	}
	defer a.noteRefusals(ctx)
	if err := a.identify(ctx, rule); err != nil {
		refuse(ctx, err)
		return
	}
	next(ctx)
}

// identify finds out who the caller is, and checks that the caller's role has the permission that the rule needs.
func (a *api) identify(ctx huma.Context, rule access) error {
	if err := wrongCell(ctx.Context()); err != nil {
		return err
	}
	x := exchangeOf(ctx.Context())
	token, ok := bearer(requestOf(ctx).Header)
	if !ok {
		return newProblem(http.StatusUnauthorized)
	}
	x.prove = func() error {
		if x.claim != nil {
			a.Commands.Forgo(x.claim)
		}
		within, cancel := context.WithTimeout(ctx.Context(), answerTimeout)
		defer cancel()
		actor, err := a.Authenticate(within, token)
		setRateLimit(ctx, actor.Quota)
		x.claim, x.actor, x.refusals = nil, nil, nil
		if actor.Member != uuid.Nil { // also with an error: of a member who asks too often
			x.actor = &actor
		}
		if err != nil {
			return err
		}
		if actor.Member == uuid.Nil || actor.Workspace.ID == uuid.Nil {
			return errors.New("http: Authenticate gave no error and no member")
		}
		return rule.admit(actor)
	}
	if claim := a.recognise(ctx.Operation(), token); claim != nil && rule.admit(claim.Actor) == nil {
		setRateLimit(ctx, claim.Quota)
		x.claim, x.actor = claim, &claim.Actor
		return nil
	}
	return x.prove()
}

// recognise gives the claim of a caller whose token is checked in the same round trip as the operation's own query.
func (a *api) recognise(op *huma.Operation, token string) *projections.Claim {
	if looks, _ := op.Metadata[readsFirstKey].(bool); !looks || a.Recognise == nil {
		return nil
	}
	return a.Recognise(token)
}

// known refuses an exchange whose claim does not hold. An unknown caller must not learn what is wrong with a request, or what a key
// stands for.
func (x *exchange) known() error {
	if x.claim == nil {
		return nil
	}
	return x.prove()
}

// admit refuses an actor who may not call the operation.
func (r access) admit(actor projections.Actor) error {
	if r.session && actor.Session == uuid.Nil {
		return domain.SessionFirst()
	}
	if r.rule != signedIn.rule && actor.TwoFactor.MustEnrol() {
		return domain.EnrolFirst()
	}
	if r.rule != signedIn.rule && !actor.Role.Grants.Allow(r.permission) {
		return domain.Refuse(domain.Forbidden, "forbidden", "this needs the permission %s", r.permission)
	}
	return nil
}

// maxToken is how many characters a token has at most, besides = at its end; ours have some 50.
const maxToken = 512

// bearer gives the token of the Authorization header, a b64token (RFC 6750). A request with two such headers has no token, because proxies
// disagree on which of them counts.
func bearer(h http.Header) (string, bool) {
	values := h.Values("Authorization")
	if len(values) != 1 {
		return "", false
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	token = strings.TrimLeft(token, " ")
	plain := strings.TrimRight(token, "=")
	return token, strings.EqualFold(scheme, "bearer") && plain != "" && len(plain) <= maxToken && strings.IndexFunc(plain, outsideB64Token) < 0
}

func outsideB64Token(c rune) bool {
	letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
	return !letter && !strings.ContainsRune("._~+/-", c)
}
