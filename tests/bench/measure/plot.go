package measure

import (
	"fmt"
	"math"
	"strings"
)

// Plot is a drawing of values against a number of something.
type Plot struct {
	Title, XLabel string
	X, Y          Axis
	Curves        []Curve
	Events        []Event
}

// Event is a vertical line in a Plot.
type Event struct {
	X    float64
	Name string
}

// Axis is one of a Plot.
type Axis struct {
	Low, High   float64
	Logarithmic bool
	Marks       []float64
	Unit        string // after the marks
}

// Curve is a line in a Plot.
type Curve struct {
	Name, Colour string
	X, Y         []float64
}

const (
	width, height = 720, 440
	left, right   = 70, 700
	top, bottom   = 40, 380
)

// at is where a value is between low and high, from 0 to 1.
func (a Axis) at(v float64) float64 {
	low, high := a.Low, a.High
	if a.Logarithmic {
		v = math.Log10(max(v, low))
		low, high = math.Log10(low), math.Log10(high)
	}
	return (v - low) / (high - low)
}

// SVG is the drawing.
func (p Plot) SVG() string {
	var s strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&s, format+"\n", args...) }
	line(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="13">`,
		width, height)
	line(`<rect width="%d" height="%d" fill="white"/><text x="%d" y="22" font-size="15">%s</text>`,
		width, height, left, p.Title)
	x := func(v float64) float64 { return left + p.X.at(v)*(right-left) }
	y := func(v float64) float64 { return bottom - p.Y.at(v)*(bottom-top) }
	const grid = `<line x1="%.0f" y1="%.0f" x2="%.0f" y2="%.0f" stroke="#ddd"/>`
	for _, v := range p.X.Marks {
		line(grid+`<text x="%.0f" y="%d" text-anchor="middle">%g%s</text>`,
			x(v), float64(top), x(v), float64(bottom), x(v), bottom+18, v, p.X.Unit)
	}
	for _, v := range p.Y.Marks {
		line(grid+`<text x="%d" y="%.0f" text-anchor="end">%g%s</text>`,
			float64(left), y(v), float64(right), y(v), left-6, y(v)+4, v, p.Y.Unit)
	}
	for _, e := range p.Events {
		line(`<line x1="%.0f" y1="%d" x2="%.0f" y2="%d" stroke="#888" stroke-dasharray="4"/>`+
			`<text transform="translate(%.0f,%d) rotate(-90)" fill="#666" font-size="11">%s</text>`,
			x(e.X), top, x(e.X), bottom, x(e.X)-3, bottom-6, e.Name)
	}
	for i, c := range p.Curves {
		var points []string
		for k := range c.X {
			points = append(points, fmt.Sprintf("%.1f,%.1f", x(c.X[k]), y(c.Y[k])))
		}
		line(`<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+
			`<text x="%d" y="%d" fill="%s">%s</text>`,
			strings.Join(points, " "), c.Colour, left+12, top+18+16*i, c.Colour, c.Name)
	}
	line(`<text x="%d" y="%d" text-anchor="middle">%s</text>`, (left+right)/2, bottom+40, p.XLabel)
	return s.String() + "</svg>\n"
}
