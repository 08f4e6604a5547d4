"""The dashboard: `views` holds one script per page, `ui` what they share.

This is the only Python file directly in `pages`: Streamlit would take any other for a page of its
own and run it without app.py.
"""
