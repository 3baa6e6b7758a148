package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// TestCommentNames: a comment that begins with the name of what it describes spells it as the code does.
func TestCommentNames(t *testing.T) {
	described := 0
	check := func(where string, doc *ast.CommentGroup, names ...*ast.Ident) {
		if doc == nil || len(names) == 0 {
			return
		}
		first, _, _ := strings.Cut(doc.Text(), " ")
		first = strings.TrimSpace(strings.TrimRight(first, ",:"))
		described++
		for _, name := range names {
			if name.Name == first {
				return
			}
		}
		for _, name := range names {
			if strings.EqualFold(name.Name, first) {
				t.Errorf("%s: the comment of %s begins with %s", where, name.Name, first)
			}
		}
	}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				check(path, n.Doc, n.Name)
			case *ast.GenDecl:
				if len(n.Specs) == 1 {
					if s, ok := n.Specs[0].(*ast.TypeSpec); ok {
						check(path, n.Doc, s.Name)
					}
					if s, ok := n.Specs[0].(*ast.ValueSpec); ok {
						check(path, n.Doc, s.Names...)
					}
				}
			case *ast.TypeSpec:
				check(path, n.Doc, n.Name)
			case *ast.ValueSpec:
				check(path, n.Doc, n.Names...)
			case *ast.Field:
				check(path, n.Doc, n.Names...)
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if described < 1000 {
		t.Errorf("%d comments describe something", described)
	}
}
