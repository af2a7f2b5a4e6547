package promises

import (
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

var _ = bring(noun{
	name: "receiver",
	thing: func(t tester, x *tenant) uuid.UUID {
		return decode[domain.Receiver](t, x.call(t, "POST", "/api/receivers", newReceiver(x)).want(t, 201)).ID
	},
	bodies: map[string]func(x *tenant) object{
		"create-receiver": newReceiver,
		"update-receiver": func(*tenant) object {
			return object{"name": uuid.NewString(), "url": "https://localhost/" + uuid.NewString(), "types": []string{"task.*"}, "opened": true, "ca": ""}
		},
		"replay-to-receiver":     func(*tenant) object { return object{"from": 1 + time.Now().UnixNano()%3} },
		"rotate-receiver-secret": func(*tenant) object { return object{"overlap_hours": time.Now().UnixNano() % 169} },
	},
	rule:   judgeReceiver,
	values: map[string][]string{"kind": domain.ReceiverKinds, "type": {"task.*", "comment.created"}},
})

// newReceiver is a webhook to which nothing can ever be delivered: its name leads to this machine, which is refused.
func newReceiver(x *tenant) object {
	return object{"kind": "webhook", "name": x.private(), "url": "https://localhost/hook", "types": []string{"task.*", "receiver.created"}, "from": 1}
}

type judgedReceiver struct {
	kind, status string
	gone         bool
}

func judgeReceiver(o *oracle, e fact) error {
	receivers := the[uuid.UUID, judgedReceiver](o)
	r := receivers[e.id]
	if created, ok := e.event.(domain.ReceiverCreated); ok {
		receivers[e.id] = &judgedReceiver{kind: created.Kind, status: "active"}
		return firstError(o.may(e.actor, domain.CreateReceiver, true), o.may(e.actor, domain.ReadAudit, true), when(r != nil, "it is there"))
	}
	if r == nil || r.gone {
		return errUnknown(e)
	}
	var err error
	switch e.event.(type) {
	case domain.ReceiverStopped:
		err = firstError(when(e.actor != uuid.Nil, "Kluis itself stops it"), when(r.status != "active", "it is so already"))
		r.status = "stopped"
		return err
	case domain.ReceiverPaused:
		err, r.status = when(r.status != "active", "it is so already"), "paused"
	case domain.ReceiverResumed:
		err, r.status = when(r.status == "active", "it is so already"), "active"
	case domain.ReceiverSecretRotated:
		err = when(r.kind != domain.Webhook, "it is not signed")
	case domain.ReceiverDeleted:
		r.gone = true
		return o.may(e.actor, domain.DeleteReceiver, true)
	case domain.ReceiverUpdated, domain.ReceiverReplayed:
		err = o.may(e.actor, domain.ReadAudit, true)
	default:
		return errUnknown(e)
	}
	return firstError(err, o.may(e.actor, domain.UpdateReceiver, true))
}
