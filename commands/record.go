package commands

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/document"
	"github.com/kluis-eu/kluis/projections"
)

// Region is a place where workspaces are.
type Region struct {
	Name    string // as in KLUIS_REGIONS
	Country string // ISO 3166-1 alpha-2, in the European Economic Area
}

// Records is what the law requires the operator of Kluis to have in writing (GDPR, Art. 28, 30 and 32), as of a day. All of it follows from the registry of
// data (domain.Data), the list of subprocessors, and the settings. It says nothing about any workspace.
type Records struct {
	Operator string // the organisation that runs Kluis, in its own words; empty when it has given none
	Day      domain.Date
	Regions  []Region
	Changes  []domain.SubprocessorChange // every version of the list of subprocessors, the oldest first
}

// Records reads the records of today.
func (c *Commands) Records(ctx context.Context) (r Records, err error) {
	r = Records{Operator: c.Operator, Regions: c.Regions}
	err = c.DB.Control(ctx, func(tx pgx.Tx) error {
		var now time.Time
		if err := tx.QueryRow(ctx, `select now()`).Scan(&now); err != nil {
			return err
		}
		r.Day = domain.Day(now)
		r.Changes, err = projections.SubprocessorChanges(ctx, tx)
		return err
	})
	return r, err
}

// Subprocessors gives the subprocessors on the day.
func (r Records) Subprocessors() []domain.Subprocessor {
	return domain.SubprocessorsOn(r.Day, r.Changes)
}

// Version is the version of the list of subprocessors that was announced last; 0 for none.
func (r Records) Version() int { return len(r.Changes) }

// The names of the documents.
const (
	ProcessingRecords = "processing_records"
	SubprocessorList  = "subprocessors"
	DPA               = "dpa"
	Residency         = "residency"
	SecurityMeasures  = "security_measures"
)

// DocumentNames has all documents, in reading order.
var DocumentNames = []string{DPA, ProcessingRecords, SubprocessorList, Residency, SecurityMeasures}

// Document writes the document with a name.
func (r Records) Document(name string) document.Document {
	day, _ := time.Parse(time.DateOnly, string(r.Day)) // a domain.Date has this format
	title, sections := documents[name].title, documents[name].write(r)
	return document.Document{Title: title, Date: day, Sections: sections}
}

// printed has the last PDF of each document, so that frequent requests cost little.
type printed struct {
	mu   sync.Mutex
	last map[string]printing
}

// printing is a PDF, with the records that it was made from.
type printing struct {
	records string
	pdf     []byte
}

// PDF gives a document as a PDF. The caller must not change the bytes.
func (c *Commands) PDF(r Records, name string) ([]byte, error) {
	of := fmt.Sprint(r)
	c.printed.mu.Lock()
	defer c.printed.mu.Unlock()
	if last := c.printed.last[name]; last.records == of {
		return last.pdf, nil
	}
	var pdf bytes.Buffer
	if err := r.Document(name).PDF(&pdf); err != nil {
		return nil, err
	}
	if c.printed.last == nil {
		c.printed.last = map[string]printing{}
	}
	c.printed.last[name] = printing{of, pdf.Bytes()}
	return pdf.Bytes(), nil
}

var documents = map[string]struct {
	title string
	write func(Records) []document.Section
}{
	ProcessingRecords: {"Records of processing activities", Records.processing},
	SubprocessorList:  {"Subprocessors", Records.subprocessors},
	DPA:               {"Data processing agreement", Records.agreement},
	Residency:         {"Where the data are", Records.residency},
	SecurityMeasures:  {"Technical and organisational measures", Records.measures},
}
