package domain

import "time"

// The events of a receiver. No event holds a secret. Deliveries make no events, because they are no history of the workspace.
type (
	ReceiverCreated struct {
		Kind        string   `json:"kind"`
		Name        string   `json:"name"`
		URL         string   `json:"url"`
		Types       []string `json:"types,omitempty"`
		Subject     string   `json:"subject,omitempty"`
		Opened      bool     `json:"opened,omitempty"`
		CA          string   `json:"ca,omitempty"`
		Credentials bool     `json:"credentials,omitempty"` // the request had credentials
		From        int64    `json:"from,omitempty"`        // the first position; 0: the position after this event
	}
	// ReceiverUpdated holds only the fields that changed.
	ReceiverUpdated struct {
		Name        *string   `json:"name,omitempty"`
		URL         *string   `json:"url,omitempty"`
		Types       *[]string `json:"types,omitempty"`
		Subject     *string   `json:"subject,omitempty"`
		Opened      *bool     `json:"opened,omitempty"`
		CA          *string   `json:"ca,omitempty"`
		Credentials bool      `json:"credentials,omitempty"` // the request had new credentials
	}
	ReceiverPaused  struct{}
	ReceiverResumed struct{}
	ReceiverStopped struct {
		Reason string `json:"reason"`
	}
	ReceiverSecretRotated struct {
		Until time.Time `json:"until"` // until then the secret before it signs, too
	}
	ReceiverReplayed struct {
		From int64 `json:"from"`
	}
	ReceiverDeleted struct{}
)

func init() {
	register[ReceiverCreated]("receiver.created")
	register[ReceiverUpdated]("receiver.updated")
	register[ReceiverPaused]("receiver.paused")
	register[ReceiverResumed]("receiver.resumed")
	register[ReceiverStopped]("receiver.stopped")
	register[ReceiverSecretRotated]("receiver.secret_rotated")
	register[ReceiverReplayed]("receiver.replayed")
	register[ReceiverDeleted]("receiver.deleted")
}

// Apply folds one event of the receiver's stream into its state.
func (r *Receiver) Apply(record Record) {
	switch e := record.Event.(type) {
	case ReceiverCreated:
		r.begin(e)
		r.ID, _ = StreamID("receiver", record.Stream)
		r.CreatedBy, r.CreatedAt, r.ResumedAt = record.Actor, record.At, record.At
		if e.From == 0 {
			r.StartsAfter = record.Position
		}
	case ReceiverUpdated:
		r.update(e)
	case ReceiverPaused:
		r.Status = Paused
	case ReceiverResumed:
		r.Status, r.Reason, r.ResumedAt = Active, "", record.At
	case ReceiverStopped:
		r.Status, r.Reason = Stopped, e.Reason
	case ReceiverSecretRotated:
		r.SecretNo, r.SecretUntil = r.SecretNo+1, &e.Until
	case ReceiverReplayed:
		r.StartsAfter, r.Starts = max(e.From-1, 0), r.Starts+1
	case ReceiverDeleted:
		r.DeletedAt = &record.At
	}
	r.UpdatedAt, r.Version, r.Position = record.At, record.Version, record.Position
}

func (r *Receiver) begin(e ReceiverCreated) {
	*r = Receiver{Kind: e.Kind, Name: e.Name, URL: e.URL, Types: e.Types, Subject: e.Subject, Opened: e.Opened, CA: e.CA,
		Status: Active, SecretNo: 1, StartsAfter: max(e.From-1, 0), Starts: 1}
	if r.Types == nil {
		r.Types = []string{}
	}
}

func (r *Receiver) update(e ReceiverUpdated) {
	set(&r.Name, e.Name)
	set(&r.URL, e.URL)
	set(&r.Types, e.Types)
	set(&r.Subject, e.Subject)
	set(&r.Opened, e.Opened)
	set(&r.CA, e.CA)
}
