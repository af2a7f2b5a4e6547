package http

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/projections"
)

type (
	adding struct { // a file to what is in the path
		ByID
		Idempotent
	}
	contentGet struct {
		ByID
		Range       string `header:"Range" maxLength:"100" doc:"One range of bytes, such as bytes=0-1023; anything else is passed over."`
		IfRange     string `header:"If-Range" maxLength:"100" doc:"The ETag of the content of which the range is a part; when it is another, all of it is sent."`
		IfNoneMatch string `header:"If-None-Match" maxLength:"1000" doc:"The ETag of what the caller has; when it is the same, the answer is 304."`
	}
	contentShown struct { // as Streamed is
		Body func(huma.Context)
	}
)

func attachment(a *api) {
	lists(a, operation{Method: "GET", Path: "/api/tasks/{id}/attachments", ID: "list-attachments", Tag: "attachment", Status: http.StatusOK,
		Summary: "List the attachments of a task", Access: needs(domain.ReadAttachment)}, projections.Attachments,
		func(ctx context.Context, by projections.Actor, in *listingIn, page projections.Page) ([]projections.Shown, projections.Mark, error) {
			if _, mark, err := projections.Tasks.Get(ctx, a.Projections, by, in.ID); err != nil {
				return nil, mark, err
			}
			return projections.Attachments.ListShown(ctx, a.Projections, by, page, projections.AttachmentFilter{Task: &in.ID})
		})
	command(a, operation{Method: "POST", Path: "/api/tasks/{id}/attachments", ID: "add-attachment", Tag: "attachment", Status: http.StatusCreated, Made: "/api/attachments/{id}",
		Summary: "Add a file to a task", Access: needs(domain.CreateAttachment), File: "file", MaxBody: domain.MaxFile + formRoom,
		Description: "The file is stored encrypted, and whole or not at all. How large a file may be, and all of a workspace together, depends on the plan: " +
			"`file_too_large`, `quota_exceeded`. Send `Expect: 100-continue` so that a refusal comes before the bytes go."}, a.addAttachment)
	register(a, operation{Method: "GET", Path: "/api/attachments/{id}", ID: "get-attachment", Tag: "attachment", Status: http.StatusOK,
		Summary: "Get what is known of an attachment, as it is or as it was", Access: needs(domain.ReadAttachment)}, getting(a, projections.Attachments))
	register(a, operation{Method: "GET", Path: "/api/attachments/{id}/content", ID: "get-attachment-content", Tag: "attachment", Status: http.StatusOK,
		Summary: "Download an attachment, or a part of it", Access: needs(domain.ReadAttachment), Produces: "*/*", Parts: true,
		Description: "The ETag is the SHA-256 of the bytes. Browsers are told to save the file and never to show it; HTML, SVG and whatever else may run is served as " +
			"application/octet-stream."}, a.getContent)
	register(a, operation{Method: "GET", Path: "/api/attachments/{id}/history", ID: "get-attachment-history", Tag: "attachment", Status: http.StatusOK,
		Summary: "Who added and deleted an attachment, when", Access: needs(domain.ReadAttachment)}, history(a, projections.Attachments))
	command(a, operation{Method: "DELETE", Path: "/api/attachments/{id}", ID: "delete-attachment", Tag: "attachment", Status: http.StatusNoContent,
		Summary: "Delete an attachment", Description: "Its bytes are gone then, for good; its history stays.", Access: needs(domain.DeleteAttachment)},
		func(ctx context.Context, r commands.Request, in *doing) (*written204, error) {
			return noContent(a.Commands.DeleteAttachment(ctx, r, in.ID))
		})
}

func (a *api) addAttachment(ctx context.Context, r commands.Request, in *adding) (*wrote[domain.Attachment], error) {
	if err := a.uploads.acquire(ctx, r.By.Member); err != nil {
		return nil, err
	}
	x := exchangeOf(ctx)
	name, content, err := fileOf(x.parts, "file")
	if err != nil {
		return nil, err
	}
	return answered(a.Commands.AddAttachment(ctx, r, in.ID, commands.Upload{Name: name, AtLeast: max(0, x.length-formRoom), Content: content}))
}

func (a *api) getContent(ctx context.Context, by projections.Actor, in *contentGet) (*contentShown, error) {
	found, _, err := projections.Attachments.Get(ctx, a.Projections, by, in.ID)
	if err != nil {
		return nil, err
	}
	content, err := a.Commands.OpenAttachment(ctx, by.Workspace, found)
	if err != nil {
		return nil, err
	}
	return &contentShown{a.served(func(w http.ResponseWriter, r *http.Request) error {
		defer content.Close()
		return serveContent(w, r, found, content)
	})}, nil
}

// oneRange is a Range that is answered with a part (RFC 9110, 14.2). A request for several parts
// could have the same bytes read and decrypted many times.
var oneRange = regexp.MustCompile(`^bytes=([0-9]{1,18}-[0-9]{0,18}|-0{0,17}[1-9][0-9]{0,17})$`)

// serveContent answers with the bytes of an attachment, or a part of them. Whoever opens them in a browser saves them.
func serveContent(w http.ResponseWriter, r *http.Request, a domain.Attachment, content commands.Content) error {
	h := w.Header()
	h.Set("Content-Type", servedType(a.Type))
	h.Set("Content-Disposition", disposition(a.Name))
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	h.Set("ETag", `"`+a.Digest+`"`)
	if sum, err := hex.DecodeString(a.Digest); err == nil {
		h.Set("Repr-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(sum)+":") // RFC 9530
	}
	asked := r.Clone(r.Context())
	for _, name := range []string{"If-Match", "If-Modified-Since", "If-Unmodified-Since"} {
		asked.Header.Del(name)
	}
	if !oneRange.MatchString(asked.Header.Get("Range")) {
		asked.Header.Del("Range")
	}
	from := &errorRecorder{SectionReader: content.SectionReader}
	http.ServeContent(w, asked, "", time.Time{}, from)
	return from.err
}

// servedType is the media type under which a file is served: that of pictures, sound and plain text, and of what no browser runs.
func servedType(media string) string {
	kind, _, _ := mime.ParseMediaType(media)
	family, _, _ := strings.Cut(kind, "/")
	switch {
	case strings.Contains(kind, "xml"), strings.Contains(kind, "html"), strings.Contains(kind, "script"):
	case family == "image", family == "audio", family == "video", kind == "application/pdf", kind == "application/zip":
		return kind
	case kind == "text/plain":
		return media
	}
	return "application/octet-stream"
}

// disposition has a file saved under its name (RFC 6266), which stands there in UTF-8 (RFC 8187), and for old programs in ASCII.
func disposition(name string) string {
	plain := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || strings.ContainsRune(`"\%`, r) {
			return '_'
		}
		return r
	}, name)
	return `attachment; filename="` + plain + `"; filename*=UTF-8''` + strings.ReplaceAll(url.QueryEscape(name), "+", "%20")
}
