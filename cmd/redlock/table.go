package main

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// table prints rows under headings. A column whose heading begins with ">" is
// aligned to the right.
func table(w io.Writer, head []string, rows [][]string) {
	right := make([]bool, len(head))
	titles := make([]string, len(head))
	for i, title := range head {
		titles[i], right[i] = strings.CutPrefix(title, ">")
	}
	width := columnWidths(head, rows)
	for _, row := range append([][]string{titles}, rows...) {
		var line strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
			if right[i] {
				line.WriteString(pad + cell + "  ")
			} else {
				line.WriteString(cell + pad + "  ")
			}
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
}

// columnWidths returns the widths of a table's columns.
func columnWidths(head []string, rows [][]string) []int {
	width := make([]int, len(head))
	for i, title := range head {
		width[i] = utf8.RuneCountInString(strings.TrimPrefix(title, ">"))
	}
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	return width
}

func tableWidth(head []string, rows [][]string) int {
	total := 2 * (len(head) - 1)
	for _, w := range columnWidths(head, rows) {
		total += w
	}
	return total
}

// fitTable omits columns, in the order of spare, until a table is no wider than
// width, and cuts its widest cells if that is not enough. A width of 0 means
// any width. It also returns the names of the omitted columns.
func fitTable(width int, head []string, cells [][]string, spare ...string) ([]string, [][]string, []string) {
	var hidden []string
	for ; width > 0 && len(spare) > 0 && tableWidth(head, cells) > width; spare = spare[1:] {
		i := slices.Index(head, spare[0])
		head = slices.Delete(slices.Clone(head), i, i+1)
		for j, row := range cells {
			cells[j] = slices.Delete(row, i, i+1)
		}
		hidden = append(hidden, strings.TrimPrefix(spare[0], ">"))
	}
	for most := 60; width > 0 && most > 8 && tableWidth(head, cells) > width; most-- {
		for _, row := range cells {
			for i := range row {
				row[i] = cut(row[i], most)
			}
		}
	}
	return head, cells, hidden
}

// tableLines returns the lines of a table; the first is the heading.
func tableLines(head []string, cells [][]string) []string {
	var b bytes.Buffer
	table(&b, head, cells)
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}
