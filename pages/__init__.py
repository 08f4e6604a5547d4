"""The dashboard: `views` holds one script a page, a folder of its name the parts of that page.

`plots` draws, `downloads` hands out, `shared` is what pages have in common.

This is the only Python file directly in `pages`: Streamlit would take any other for a page of its
own and run it without app.py.
"""
