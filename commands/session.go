package commands

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/limit"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/token"
	"github.com/kluis-eu/kluis/projections"
)

// newSession is a session about to be stored. The caller gets its token once; the database has the digest.
type newSession struct {
	id      uuid.UUID
	token   string
	digest  []byte
	expires time.Time // by the database's clock; set when the session is stored
	member  uuid.UUID
}

func makeSession(w pg.Workspace, member uuid.UUID) *newSession {
	text, digest := token.New(token.Session, w.ID)
	return &newSession{id: uuid.Must(uuid.NewV7()), token: text, digest: digest[:], member: member}
}

// sessionEnd is the end of a session that begins now and lives $1 seconds.
const sessionEnd = `date_trunc('second', now() + make_interval(secs => $1))`

// endOld deletes a member's sessions that have expired, because nothing else does.
func endOld(member uuid.UUID) pg.Statement {
	return pg.Exec(`delete from session where member_id = $1 and (expires_at < now() or used_at < now() - make_interval(secs => $2))`,
		member, projections.SessionIdle.Seconds())
}

func (s *newSession) insert() pg.Statement {
	return pg.Exec(`insert into session (id, member_id, digest, expires_at) values ($2, $3, $4, `+sessionEnd+`) returning expires_at`,
		projections.SessionLife.Seconds(), s.id, s.member, s.digest).Scan(&s.expires)
}

// insertFor stores the session, but only while password and second factor are those of a, which were compared. A change of either locks the credential
// first, and then ends the sessions. So no session outlives the password that opened it.
func (s *newSession) insertFor(a projections.Account, stored *[]time.Time) pg.Statement {
	return pg.Column(stored, `insert into session (id, member_id, digest, expires_at)
		select $2::uuid, member_id, $4::bytea, `+sessionEnd+` from credential where member_id = $3 and password = $5
			and coalesce((select secret from two_factor where member_id = $3 and confirmed_at is not null), '') = $6 returning expires_at`,
		projections.SessionLife.Seconds(), s.id, s.member, s.digest, a.Password, a.TwoFactor)
}

// errWrong says that the password is wrong, or that there is no such account.
var errWrong = domain.Refuse(domain.Unauthenticated, "bad_credentials", "workspace, e-mail address or password is wrong")

// The refusals after a right password, when the account has a second factor.
var (
	errNoCode    = domain.Refuse(domain.Unauthenticated, "code_required", "two factors are on: log in with a code from your device, or a recovery code")
	errWrongCode = domain.Refuse(domain.Unauthenticated, "bad_code", "the code is wrong, or was used before: wait for the next one")
)

// Credentials are what a caller sends to log in.
type Credentials struct {
	Workspace, Email, Password string
	Code                       string // of the second factor; empty for none
	Device                     string // the device token from the answer to an earlier log-in; empty for none
	From                       Origin
}

// Login opens a session. For an unknown address it does the same work, and gives the same answer, as for a wrong password.
//
// An attempt is reserved before the password is compared (tryLogin). A wrong password stays counted. A right one gives back its own attempt, and all
// others in the same circle. So of any number of wrong passwords sent at once, no more are compared than the limit allows.
//
// When the account has a second factor, a wrong code counts like a wrong password, and for the second factor as well. A right password alone then gives
// back its own attempt only. Otherwise somebody with the password could guess codes for ever.
func (c *Commands) Login(ctx context.Context, in Credentials) (Admitted, error) {
	who := newAccountName(in.Workspace, in.Email)
	admitted, err := c.login(ctx, who, in)
	if r, refused := domain.Refusal(err); refused && r.Code == "locked" {
		c.noteStranger(ctx, who, in.From, logIn, r.Code)
	}
	return admitted, err
}

// logIn is the name of the operation, for the log.
const logIn = "log-in"

func (c *Commands) login(ctx context.Context, who accountName, in Credentials) (Admitted, error) {
	try, err := c.tryLogin(ctx, who, client{in.From, in.Device})
	if err != nil {
		return Admitted{}, tooMany(err)
	}
	w, account, err := c.account(ctx, who)
	var session *newSession
	if err == nil {
		session, err = c.openSession(ctx, w, account, who, in)
	}
	if err := c.settleLogin(ctx, w, account, in.From, try, err); err != nil {
		return Admitted{}, err
	}
	ws, _, err := c.Projections.GetWorkspace(ctx, w)
	if err != nil {
		return Admitted{}, err
	}
	member, err := c.Projections.MemberByID(ctx, w, account.ID)
	if err != nil {
		return Admitted{}, err
	}
	return c.admit(ctx, w, ws, member, who, in.From, session)
}

// settleLogin settles the attempt by the outcome of the log-in, and gives that outcome.
func (c *Commands) settleLogin(ctx context.Context, w pg.Workspace, a *projections.Account, from Origin, try limit.Try, ended error) error {
	ctx = context.WithoutCancel(ctx)
	reason := ""
	switch {
	case ended == nil:
		return try.GiveBack(ctx, limit.LoginAccount, limit.LoginRun)
	case errors.Is(ended, errWrongCode):
		reason = domain.CodeWrong
	case errors.Is(ended, errWrong):
	case errors.Is(ended, errNoCode):
		c.noteFailed(ctx, w, *a, from, limit.Lock{}, domain.CodeMissing)
		fallthrough
	default: // not everything was compared
		return errors.Join(ended, try.GiveBack(ctx))
	}
	lock, err := try.Failed(ctx)
	switch {
	case err != nil:
	case a != nil:
		c.noteFailed(ctx, w, *a, from, lock, reason)
	case w != pg.Workspace{}:
		c.incidents.note(incident{in: w, kind: loginFailed, operation: logIn, code: errWrong.Code}, from, uuid.Nil)
	}
	return errors.Join(ended, err)
}

// account finds the account of a name; nil when there is none.
func (c *Commands) account(ctx context.Context, who accountName) (pg.Workspace, *projections.Account, error) {
	w, hash, err := c.locate(ctx, who)
	if err != nil {
		return w, nil, err
	}
	if hash == "" { // a second look-up takes the time in which the account would be read
		_, _, err = c.locate(ctx, who)
		return w, nil, err
	}
	account, err := c.Projections.AccountByEmail(ctx, w, hash)
	return w, account, err
}

// openSession compares password and code, and stores a session. The error is errWrong when the password is wrong. When password or second factor were
// replaced meanwhile, openSession compares again: the caller may have sent the new one, or another log-in may only have renewed the hash.
func (c *Commands) openSession(ctx context.Context, w pg.Workspace, account *projections.Account, who accountName, in Credentials) (*newSession, error) {
	for range 3 {
		right, weak, err := c.verify(ctx, in.From, account, in.Password)
		if err != nil {
			return nil, err
		}
		if !right {
			return nil, errWrong
		}
		shown, err := c.secondFactor(ctx, w, *account, who, in.Code)
		if err != nil {
			return nil, err
		}
		var rehash []pg.Statement
		if weak {
			phc, err := c.hash(ctx, in.From, in.Password)
			if err != nil {
				return nil, err
			}
			rehash = append(rehash, pg.Exec(`update credential set password = $3, updated_at = now()
				where member_id = $1 and password = $2`, account.ID, account.Password, phc))
		}
		session := makeSession(w, account.ID)
		n := note{in: w, member: account.ID, actor: account.ID, from: in.From,
			events: shown.events(domain.MemberLoggedIn{MemberID: account.ID, SessionID: session.id})}
		stored, err := c.storeSession(ctx, n, session, *account, shown, rehash...)
		if err != nil {
			return nil, fmt.Errorf("store session: %w", err)
		}
		if stored {
			return session, nil
		}
		if account, err = c.Projections.AccountByID(ctx, w, account.ID); err != nil {
			return nil, err
		}
	}
	return nil, domain.Refuse(domain.Unavailable, "contended", "the password was changed at each of three attempts: try again")
}

// secondFactor compares the code of a log-in. It gives nil, whatever the code, when the account has no second factor.
func (c *Commands) secondFactor(ctx context.Context, w pg.Workspace, a projections.Account, who accountName, code string) (*factor, error) {
	if a.TwoFactor == "" {
		return nil, nil
	}
	if token.Typed(code) == "" {
		return nil, errNoCode
	}
	shown, err := c.tryFactor(ctx, who, func() (*factor, error) { return c.findFactor(ctx, w, a, code) })
	if err == nil && shown == nil {
		err = errWrongCode
	}
	return shown, err
}

var errMoved = errors.New("what was compared has changed")

// storeSession uses up the code, stores the session and records the log-in, in one transaction. It tells whether everything that was
// compared still held.
func (c *Commands) storeSession(ctx context.Context, n note, s *newSession, a projections.Account, shown *factor, more ...pg.Statement) (bool, error) {
	record, err := c.noteAppend(ctx, n)
	if err != nil {
		return false, err
	}
	c.notes.wait(a.ID, notePatience)
	var taken []uuid.UUID
	var stored []time.Time
	statements := []pg.Statement{lockCredential(a.ID)}
	if shown != nil {
		statements = append(statements, shown.spend(&taken))
	}
	statements = append(statements, s.insertFor(a, &stored), endOld(a.ID))
	statements = append(statements, more...)
	var receipt eventstore.Receipt
	err = c.DB.In(ctx, n.in, func(tx *pg.Tx) error {
		if err := tx.Run(ctx, statements...); err != nil {
			return err
		}
		if len(stored) == 0 || shown != nil && len(taken) == 0 {
			return errMoved
		}
		s.expires = stored[0]
		var err error
		receipt, err = c.Store.AppendIn(ctx, tx.Run, n.in, record)
		return err
	})
	if errors.Is(err, errMoved) {
		return false, nil
	}
	if err == nil {
		c.Store.Appended(n.in, receipt)
	}
	return err == nil, err
}

// verify compares a password with the account's. It does the same work when there is no such account, or when the account may not be used.
func (c *Commands) verify(ctx context.Context, from Origin, account *projections.Account, plain string) (right, weak bool, err error) {
	if account == nil || account.Status != domain.Active || account.Password == "" {
		err = c.Hasher.VerifyNone(ctx, from.network(), plain)
	} else {
		right, weak, err = c.Hasher.Verify(ctx, from.network(), account.Password, plain)
	}
	if err != nil {
		return false, false, busyHashing(err)
	}
	c.compared.Add(1)
	return right, weak, nil
}

// Logout ends the session that the actor came with.
func (c *Commands) Logout(ctx context.Context, by projections.Actor, from Origin) error {
	_, err := c.endSession(ctx, by, from, by.Session, domain.MemberLoggedOut{MemberID: by.Member, SessionID: by.Session})
	return err
}

// EndSession ends one of the actor's own sessions.
func (c *Commands) EndSession(ctx context.Context, by projections.Actor, from Origin, id uuid.UUID) error {
	event := domain.Event(domain.MemberSessionEnded{MemberID: by.Member, SessionID: id})
	if id == by.Session {
		event = domain.MemberLoggedOut{MemberID: by.Member, SessionID: id}
	}
	was, err := c.endSession(ctx, by, from, id, event)
	if err == nil && !was {
		return domain.Missing("session")
	}
	return err
}

// endSession ends one session of the actor and records that, in one transaction. It tells whether there was such a session.
func (c *Commands) endSession(ctx context.Context, by projections.Actor, from Origin, id uuid.UUID, event domain.Event) (was bool, err error) {
	record, err := c.noteAppend(ctx, note{in: by.Workspace, member: by.Member, actor: by.Member, from: from, events: []domain.Event{event}})
	if err != nil {
		return false, err
	}
	c.notes.wait(by.Member, notePatience)
	var ended []uuid.UUID
	var receipt eventstore.Receipt
	err = c.DB.In(ctx, by.Workspace, func(tx *pg.Tx) error {
		err := tx.Run(ctx, pg.Column(&ended, `delete from session where id = $1 and member_id = $2 returning id`, id, by.Member))
		if err != nil || len(ended) == 0 {
			return err
		}
		receipt, err = c.Store.AppendIn(ctx, tx.Run, by.Workspace, record)
		return err
	})
	if err != nil || len(ended) == 0 {
		return false, err
	}
	c.Store.Appended(by.Workspace, receipt)
	return true, nil
}

// Authenticate finds the caller with a token. The refusal is Unauthenticated when no session and no API token has it, and TooMany when the member is over
// the limit.
func (c *Commands) Authenticate(ctx context.Context, bearer string) (projections.Actor, error) {
	refused := domain.Refuse(domain.Unauthenticated, "unauthenticated", "the token is missing, wrong, or has ended: log in")
	parsed, err := token.Parse(bearer)
	if err != nil {
		return projections.Actor{}, refused
	}
	actor, err := c.actorOfToken(ctx, parsed)
	if pg.Is(err, pg.NoSuchRole) { // the workspace of the token never existed, or was erased
		return projections.Actor{}, refused
	}
	if err != nil {
		return projections.Actor{}, fmt.Errorf("authenticate: %w", err)
	}
	if actor == nil {
		return projections.Actor{}, refused
	}
	if actor.Quota = c.Limits.Member(actor.Member); actor.Quota.Left < 0 {
		return *actor, tooMany(&limit.ExceededError{Name: limit.APIMember, Wait: actor.Quota.Wait})
	}
	return *actor, nil
}

// Recognise gives the claim of a token that this process has seen lately. The first read of the request proves the claim (see projections.Claim).
// Recognise gives nil when Authenticate has to read first.
func (c *Commands) Recognise(bearer string) *projections.Claim {
	parsed, err := token.Parse(bearer)
	if err != nil {
		return nil
	}
	claim := c.Projections.Recognise(pg.Workspace{ID: parsed.Workspace}, parsed.Digest)
	if claim == nil {
		return nil
	}
	if claim.Quota = c.Limits.Member(claim.Member); claim.Quota.Left < 0 {
		return nil
	}
	return claim
}

// Forgo gives back the count of a claim that did not hold, because Authenticate counts the request then.
func (c *Commands) Forgo(claim *projections.Claim) { c.Limits.Return(claim.Member) }
