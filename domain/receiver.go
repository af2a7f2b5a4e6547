package domain

import (
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
)

// The kinds of a receiver.
const (
	Webhook    = "webhook"     // one event a request, signed as in Standard Webhooks
	SIEMHTTPS  = "siem_https"  // NDJSON, many events a request
	SIEMSyslog = "siem_syslog" // RFC 5424 over TLS (RFC 5425)
	NATS       = "nats"        // JetStream
)

// ReceiverKinds are all kinds of receivers.
var ReceiverKinds = []string{Webhook, SIEMHTTPS, SIEMSyslog, NATS}

// The statuses of a receiver besides Active. Kluis itself stops a receiver; a member pauses one.
const (
	Paused  = "paused"
	Stopped = "stopped"
)

// The reasons for which Kluis stops a receiver.
const (
	ReceiverFails = "failing" // no delivery succeeded for ReceiverPatience
	ReceiverGone  = "gone"    // the receiver answered 410
)

// Limits of receivers.
const (
	MaxReceivers     = 100            // in a workspace
	ReceiverPatience = 75 * time.Hour // from the first failure in a row until the receiver is stopped
	MaxSecretOverlap = 7 * 24         // hours in which two secrets sign
	maxReceiverURL   = 2000
	maxReceiverTypes = 100
	maxReceiverCA    = 16_384
	maxCredentials   = 8192
	maxReceiverName  = 200
	maxReceiverTopic = 200
	defaultTopic     = "kluis.events"
)

// Receiver is an outside system to which events of the workspace are delivered after their commit: all events or those of some types, in
// the order of the log, each at least once. A receiver belongs to the workspace and stays when its creator leaves. The position of its
// deliveries is not in this state, because no decision depends on the position.
type Receiver struct {
	ID          uuid.UUID  `json:"id"`
	Kind        string     `json:"kind"`
	Name        string     `json:"name"`
	URL         string     `json:"url"`
	Types       []string   `json:"types"` // types of events, or task.* for every type of a noun; empty for all
	Subject     string     `json:"subject"`
	Opened      bool       `json:"opened"`
	CA          string     `json:"ca"`
	Status      string     `json:"status"`
	Reason      string     `json:"reason"`
	SecretNo    int        `json:"secret_no"`    // the number of the secret that signs, from 1
	SecretUntil *time.Time `json:"secret_until"` // until then the secret before it signs, too
	StartsAfter int64      `json:"starts_after"` // the position after which the last start began
	Starts      int        `json:"starts"`       // the number of starts
	ResumedAt   time.Time  `json:"resumed_at"`   // earlier failures no longer count
	CreatedBy   uuid.UUID  `json:"created_by"`
	CreatedAt   time.Time  `json:"created_at"`
	UpdatedAt   time.Time  `json:"updated_at"`
	DeletedAt   *time.Time `json:"deleted_at"`
	Version     int        `json:"version"`
	Position    int64      `json:"position"`
}

// ReceiverStream names the stream of a receiver.
func ReceiverStream(id uuid.UUID) string { return "receiver-" + id.String() }

// ReceiverChange holds the new values of a receiver's fields. A field that is nil stays.
type ReceiverChange struct {
	Name        *string
	URL         *string
	Types       *[]string
	Subject     *string
	Opened      *bool
	CA          *string
	Credentials bool // the change brings new credentials
	Shown       bool // the receiver has credentials now
}

// NewReceiver makes a receiver. others counts the existing receivers of the workspace.
func NewReceiver(e ReceiverCreated, others int) ([]Event, error) {
	if e.Kind == NATS && e.Subject == "" {
		e.Subject = defaultTopic
	}
	var made Receiver
	made.begin(e)
	if err := made.check(); err != nil {
		return nil, err
	}
	if e.Credentials && !made.TakesCredentials() {
		return nil, noCredentials()
	}
	if e.From < 0 {
		return nil, InvalidField("/from", "must be a position, from 1")
	}
	if others >= MaxReceivers {
		return nil, Refuse(Conflict, "too_many_receivers", "a workspace has at most %d receivers: delete another one first", MaxReceivers)
	}
	return []Event{e}, nil
}

// TakesCredentials tells whether Kluis shows credentials to a receiver of this kind. A webhook gets a signature instead.
func (r Receiver) TakesCredentials() bool { return r.Kind == SIEMHTTPS || r.Kind == NATS }

func noCredentials() error {
	return InvalidField("/credentials", "only receivers of the kinds %s and %s take credentials", SIEMHTTPS, NATS)
}

// Change gives the events that a ReceiverChange makes of the receiver's present state. A change to the present values gives no events.
func (r Receiver) Change(c ReceiverChange) ([]Event, error) {
	update := ReceiverUpdated{Name: changed(r.Name, c.Name), URL: changed(r.URL, c.URL), Subject: changed(r.Subject, c.Subject),
		Opened: changed(r.Opened, c.Opened), CA: changed(r.CA, c.CA), Credentials: c.Credentials}
	if c.Types != nil && !slices.Equal(*c.Types, r.Types) {
		update.Types = c.Types
	}
	if c.Credentials && !r.TakesCredentials() {
		return nil, noCredentials()
	}
	after := r
	after.update(update)
	if err := after.check(); err != nil || update == (ReceiverUpdated{}) {
		return nil, err
	}
	if c.Shown && !c.Credentials && after.host() != r.host() {
		return nil, InvalidField("/credentials", "must be given together with another host: the present credentials are for %s alone", r.host())
	}
	return []Event{update}, nil
}

// host gives the host and port of the receiver. The URL was checked before.
func (r Receiver) host() string {
	u, err := url.Parse(r.URL)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// Pause stops deliveries until a member resumes them. The deliveries then go on with the next event that the log still keeps.
func (r Receiver) Pause() ([]Event, error) {
	if r.Status != Active {
		return nil, nil
	}
	return []Event{ReceiverPaused{}}, nil
}

// Resume goes on where the deliveries stopped.
func (r Receiver) Resume() ([]Event, error) {
	if r.Status == Active {
		return nil, nil
	}
	return []Event{ReceiverResumed{}}, nil
}

// Stop stops deliveries for a reason of Kluis' own: see ReceiverFails and ReceiverGone. A receiver that is not active stays as it is.
func (r Receiver) Stop(reason string) ([]Event, error) {
	if r.Status != Active {
		return nil, nil
	}
	return []Event{ReceiverStopped{Reason: reason}}, nil
}

// RotateSecret gives a webhook another secret, from now on. Until an instant the secret before it signs as well.
func (r Receiver) RotateSecret(until time.Time) ([]Event, error) {
	if r.Kind != Webhook {
		return nil, Refuse(Conflict, "receiver_unsigned", "only webhooks are signed: change the credentials of a receiver of the kind %s with PATCH", r.Kind)
	}
	return []Event{ReceiverSecretRotated{Until: until}}, nil
}

// Replay begins the deliveries again from a position of the log, or from the next position.
func (r Receiver) Replay(from, head int64) ([]Event, error) {
	if from < 1 || from > head+1 {
		return nil, InvalidField("/from", "must be a position of the log, 1 to %d", head+1)
	}
	return []Event{ReceiverReplayed{From: from}}, nil
}

// Delete deletes the receiver.
func (r Receiver) Delete() ([]Event, error) { return []Event{ReceiverDeleted{}}, nil }

// EventTypes gives the types of events that are delivered to the receiver; nil for all.
func (r Receiver) EventTypes() ([]string, error) { return TypesOf(r.Types, "") }

func (r Receiver) check() error {
	if err := firstError(
		oneOf("/kind", r.Kind, ReceiverKinds...),
		checkText("/name", r.Name, 1, maxReceiverName),
		checkText("/ca", r.CA, 0, maxReceiverCA),
		r.checkURL(),
	); err != nil {
		return err
	}
	if len(r.Types) > maxReceiverTypes {
		return InvalidField("/types", "must be at most %d", maxReceiverTypes)
	}
	if _, err := r.EventTypes(); err != nil {
		return InvalidField("/types", "there is no such type of event")
	}
	if r.Kind == NATS && (len(r.Subject) > maxReceiverTopic || !validTopic.MatchString(r.Subject)) {
		return InvalidField("/subject", "must be names of letters, digits, - and _ with dots between them, such as %s", defaultTopic)
	}
	if r.Kind != NATS && r.Subject != "" {
		return InvalidField("/subject", "only a receiver of the kind %s has one", NATS)
	}
	return nil
}

var validTopic = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)

// schemes are the URL schemes of each kind of receiver. The first one is encrypted.
var schemes = map[string][]string{Webhook: {"https", "http"}, SIEMHTTPS: {"https", "http"}, SIEMSyslog: {"tls"}, NATS: {"tls", "nats"}}

// checkURL refuses a URL without a host, and a URL with a user name or password: the log shows URLs to auditors.
func (r Receiver) checkURL() error {
	if err := checkText("/url", r.URL, 1, maxReceiverURL); err != nil {
		return err
	}
	u, err := url.Parse(r.URL)
	if err != nil || u.Hostname() == "" || u.Opaque != "" {
		return InvalidField("/url", "must be a URL such as %s://receiver.example", schemes[r.Kind][0])
	}
	if err := oneOf("/url", u.Scheme, schemes[r.Kind]...); err != nil {
		return InvalidField("/url", "must begin with %s://", schemes[r.Kind][0])
	}
	if u.User != nil {
		return InvalidField("/url", "must hold no user name or password: the log shows it. Give credentials instead")
	}
	if u.Fragment != "" {
		return InvalidField("/url", "must have no fragment")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return InvalidField("/url", "must have a port from 1 to 65535, or none")
		}
	}
	if (r.Kind == SIEMSyslog || r.Kind == NATS) && (u.Path != "" && u.Path != "/" || u.RawQuery != "") {
		return InvalidField("/url", "must be a host and a port alone")
	}
	return nil
}

// Encrypted tells whether the connection to the receiver is encrypted.
func (r Receiver) Encrypted() bool {
	u, err := url.Parse(r.URL)
	return err == nil && u.Scheme == schemes[r.Kind][0]
}

// CheckCredentials refuses a text that cannot be credentials of a receiver. The error shows no part of the text.
func CheckCredentials(credentials string) error {
	return checkText("/credentials", credentials, 1, maxCredentials)
}

// Parts gives the member's parts in the receiver.
func (r Receiver) Parts(member uuid.UUID) Parts { return creator(r.CreatedBy, member) }
