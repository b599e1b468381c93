package browser

import (
	"bytes"
	"cmp"
	"image"
	"image/color"
	"image/png"
	"maps"
	"slices"
)

// shades is how many colors a picture keeps: those of the page, and enough of
// those between a text and its ground.
const shades = 64

// small is a picture in a quarter of the bytes: each color becomes the nearest of
// those that most pixels have.
func small(picture []byte) ([]byte, error) {
	from, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		return nil, err
	}
	counts := map[color.Color]int{}
	all := from.Bounds()
	for y := all.Min.Y; y < all.Max.Y; y++ {
		for x := all.Min.X; x < all.Max.X; x++ {
			counts[from.At(x, y)]++
		}
	}
	colors := slices.SortedFunc(maps.Keys(counts), func(a, b color.Color) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(sum(a), sum(b)))
	})
	palette := color.Palette(colors[:min(shades, len(colors))])
	nearest := map[color.Color]uint8{}
	to := image.NewPaletted(all, palette)
	for y := all.Min.Y; y < all.Max.Y; y++ {
		for x := all.Min.X; x < all.Max.X; x++ {
			c := from.At(x, y)
			i, known := nearest[c]
			if !known {
				i = uint8(palette.Index(c))
				nearest[c] = i
			}
			to.SetColorIndex(x, y, i)
		}
	}
	var b bytes.Buffer
	err = (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&b, to)
	return b.Bytes(), err
}

// sum orders colors of which pixels have equally many.
func sum(c color.Color) uint32 {
	r, g, b, _ := c.RGBA()
	return r<<2 + g<<1 + b
}
