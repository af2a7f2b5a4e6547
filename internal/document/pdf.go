package document

import (
	"fmt"
	"io"

	"codeberg.org/go-pdf/fpdf"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/goregular"
)

// Sizes on a page of A4 in millimetres, and of letters in points.
const (
	margin   = 22
	between  = 2.5 // paragraphs
	terms    = 45  // the column of terms
	leading  = 0.5 // height of a line in millimetres, for each point of its letters
	ordinary = 10
	heading  = 12.5
	title    = 18

	fewItems = 4 // a list of up to so many is kept on one page
)

// PDF writes the document on pages of A4. Its fonts are inside, and have the letters of every language of the European Union.
func (d Document) PDF(to io.Writer) error {
	p := printer{fpdf.New("P", "mm", "A4", "")}
	p.AddUTF8FontFromBytes("go", "", goregular.TTF)
	p.AddUTF8FontFromBytes("go", "B", gobold.TTF)
	p.SetTitle(d.Title, true)
	p.SetLang("en")
	p.SetCatalogSort(true)
	p.SetCreationDate(d.Date)
	p.SetModificationDate(d.Date)
	p.SetMargins(margin, margin, margin)
	p.SetAutoPageBreak(true, margin)
	p.AliasNbPages("")
	p.SetFooterFunc(func() {
		p.SetY(-15)
		p.SetFont("go", "", 8)
		p.CellFormat(0, 5, fmt.Sprintf("%s, %s: page %d of {nb}", d.Title, day(d.Date), p.PageNo()), "", 0, "C", false, 0, "")
	})
	p.AddPage()
	p.paragraph("B", title, d.Title)
	p.paragraph("", ordinary, day(d.Date))
	for _, s := range d.Sections {
		p.section(s)
	}
	if err := p.Output(to); err != nil {
		return fmt.Errorf("write %q as PDF: %w", d.Title, err)
	}
	return nil
}

type printer struct{ *fpdf.Fpdf }

func (p printer) section(s Section) {
	p.Ln(between)
	height := 3 * heading * leading
	if len(s.Text) == 0 && len(s.List) <= fewItems { // so that no line for a signature is alone on a page
		height += float64(len(s.List)) * (2*ordinary*leading + between)
	}
	p.keepTogether(height)
	p.paragraph("B", heading, s.Title)
	for _, text := range s.Text {
		p.paragraph("", ordinary, text)
	}
	for _, item := range s.List {
		p.item(item)
	}
}

func (p printer) paragraph(style string, points float64, text string) {
	p.SetFont("go", style, points)
	p.MultiCell(0, points*leading, text, "", "L", false)
	p.Ln(between)
}

// item puts a term beside what is said of it.
func (p printer) item(i Item) {
	p.keepTogether(3 * ordinary * leading)
	top, on := p.GetY(), p.PageNo()
	p.SetFont("go", "B", ordinary)
	p.MultiCell(terms-between, ordinary*leading, i.Term, "", "L", false)
	under := p.GetY()
	p.SetFont("go", "", ordinary)
	p.SetLeftMargin(margin + terms)
	p.SetXY(margin+terms, top)
	p.MultiCell(0, ordinary*leading, i.Text, "", "L", false)
	p.SetLeftMargin(margin)
	if p.PageNo() == on {
		p.SetY(max(p.GetY(), under))
	}
	p.Ln(between / 2)
}

// keepTogether begins a new page when this one has less than height left.
func (p printer) keepTogether(height float64) {
	if _, page := p.GetPageSize(); p.GetY()+height > page-margin {
		p.AddPage()
	}
}
